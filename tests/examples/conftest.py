"""The examples, as a bot's own process would run them, against a real web."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
from aiohttp import web

from nightshift import agents, client
from nightshift.access.tokens import Role, Tokens
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.delivery import Delivery
from nightshift.runs.carry import Run
from nightshift.runs.row import RunRow
from nightshift.settings import Settings
from nightshift.work.runner import hand_to_runner
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import serve, settle, stage, store, tokens  # noqa: F401
from tests.nightshift.web.serving import Served

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GATHER_S", 0.05)


class Load(Protocol):
    """The example's module, with these in its environment."""

    def __call__(self, name: str, **env: str) -> ModuleType: ...


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    def loaded(name: str, **env: str) -> ModuleType:
        for variable, value in env.items():
            monkeypatch.setenv(variable, value)
        spec = importlib.util.spec_from_file_location("example", EXAMPLES / name)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return loaded


async def bots_token(tokens: Tokens) -> str:  # noqa: F811
    return await tokens.create("bot", Role.BOT, tenant="default", agent="default")


async def hand(stage: Stage, ref: ChannelRef) -> str:  # noqa: F811
    """Hand the agent something to say there."""
    cause = await stage.run("heartbeat:x", queue="heartbeat")
    run = Run(await stage.claim(cause), stage.ledger)
    agent = agents.of(Settings(), "default")
    return await hand_to_runner(run, agent, ref, "heartbeat", "Good night, all.")


async def said(here: Served, run: str) -> str:
    """What the bot answered."""
    return (await delivered(here, run)).text


async def delivered(here: Served, run: str) -> Delivery:
    """The delivery of what the bot answered."""
    row: RunRow = await here.web.here.runs.ledger.get(run)
    assert row.state == "done", row.reason
    return await here.web.here.deliveries.store.get(row.result["delivery"])


@asynccontextmanager
async def platform(routes: list[web.RouteDef]) -> AsyncIterator[str]:
    """A stand-in of a chat platform; where it listens."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address: Any = runner.addresses[0]
    try:
        yield f"127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()
