"""The web as its callers meet it: in the test's own process, or behind a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from nightshift.access.tokens import Role, Tokens
from nightshift.deployment import process_settings
from nightshift.runs.ledger import Ledger
from nightshift.store.keys import Keys
from nightshift.web.app import create_app
from nightshift.web.state import Web
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.serving import Served, served

STATE, BROKER = 12, 13


@pytest.fixture
async def store(redis_socket: Path) -> AsyncIterator[Redis]:
    """Databases of their own, because the web always uses the same root."""
    async with Redis(unix_socket_path=str(redis_socket), db=STATE, decode_responses=True) as client:
        yield client
        await client.flushdb()


@pytest.fixture
def stage(store: Redis) -> Stage:
    return Stage(Ledger(store, Keys()))


@pytest.fixture
def tokens(store: Redis) -> Tokens:
    return Tokens(store, Keys())


class Settle(Protocol):
    """Read the settings afresh, with the store that listens here."""

    def __call__(self, socket: Path) -> None: ...


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str]) -> Iterator[Settle]:
    def named(socket: Path) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("NIGHTSHIFT_STATE_URL", f"unix://{socket}?db={STATE}")
        monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", f"unix://{socket}?db={BROKER}")
        process_settings.cache_clear()

    yield named
    process_settings.cache_clear()


@pytest.fixture
async def app(settle: Settle, store: Redis, redis_socket: Path) -> AsyncIterator[FastAPI]:
    """The application, started."""
    settle(redis_socket)
    app = create_app(process_settings())
    async with app.router.lifespan_context(app):
        yield app


@dataclass
class Caller:
    """Somebody with a token, or without."""

    client: httpx2.AsyncClient
    headers: dict[str, str]

    async def __call__(self, path: str, method: str = "GET", **how: Any) -> httpx2.Response:
        return await self.client.request(method, path, headers=self.headers, **how)


class Call(Protocol):
    """Call the application as the bearer of this token, or of none."""

    def __call__(self, secret: str | None = None) -> Caller: ...


@pytest.fixture
async def call(app: FastAPI) -> AsyncIterator[Call]:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://web") as client:

        def bearing(secret: str | None = None) -> Caller:
            return Caller(client, {"Authorization": f"Bearer {secret}"} if secret else {})

        yield bearing


@pytest.fixture
async def admin(call: Call, tokens: Tokens) -> Caller:
    """Somebody who may do everything."""
    return call(await tokens.create("ann", Role.ADMIN))


class Serve(Protocol):
    """Serve a new application on a port of its own, to an admin."""

    def __call__(self) -> AbstractAsyncContextManager[Served]: ...


@pytest.fixture
def serve(settle: Settle, tokens: Tokens, redis_socket: Path) -> Serve:
    @asynccontextmanager
    async def started() -> AsyncIterator[Served]:
        settle(redis_socket)
        app = create_app(process_settings())
        secret = await tokens.create("ann", Role.ADMIN)
        async with served(app, secret) as here:
            yield here

    return started


def web_of(app: FastAPI) -> Web:
    web: Web = app.state.web
    return web
