"""The web application: probes, metrics and the API; the console is laid over it by ``serve``."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import APIRouter, FastAPI
from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import nightshift
from nightshift.deployment import Deployment
from nightshift.processes.signs_of_life import REPORT_EVERY, leave, report
from nightshift.settings import Settings
from nightshift.store.ground import QUICK
from nightshift.web import health, problems, unrouted
from nightshift.web.api import routers
from nightshift.web.guard import REFUSALS, Reader
from nightshift.web.hub import EventHub
from nightshift.web.sizes import LimitBodies
from nightshift.web.state import Web
from nightshift.web.waiting import WaitingRoom

#: Said of every answer. Pages bring their own scripts and styles and may be framed by nobody.
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
    b"cache-control": b"no-store",
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        b"frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    ),
}


class Application(FastAPI):
    """Says the headers with every answer."""

    def build_middleware_stack(self) -> ASGIApp:
        # Around everything: what answers an unexpected error stands outside all middleware that is added.
        return SayHeaders(super().build_middleware_stack())


def create_app(settings: Settings) -> FastAPI:
    """The application; it reaches the stores that the settings name once it is started."""
    app = Application(
        title="nightshift",
        version=nightshift.__version__,
        summary="Everything an always-on LLM agent does while nobody is talking to it.",
        lifespan=_reach_stores,
        openapi_url=None,  # served below, to whoever shows a token
        docs_url=None,  # these would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.settings = settings
    app.add_middleware(LimitBodies)
    problems.install(app)
    app.include_router(health.router)
    v1 = APIRouter(prefix="/v1")
    for router in routers():
        v1.include_router(router)

    @v1.get("/openapi.json", summary="This description", tags=["status"], responses=REFUSALS)
    async def openapi(token: Reader) -> dict[str, Any]:
        return app.openapi()

    app.include_router(v1)
    unrouted.install(app, below=v1.prefix)
    return app


@asynccontextmanager
async def _reach_stores(app: FastAPI) -> AsyncIterator[None]:
    # Whoever asks is told at once that a store is away, rather than when it is back.
    async with Deployment(app.state.settings, QUICK) as here:
        here.broker  # noqa: B018  refused at the start, if no settings say where it is
        waiting = WaitingRoom()
        hub = EventHub(here.state, here.keys, waiting.hear)
        following = asyncio.create_task(hub.follow())
        web = app.state.web = Web(here, hub, following, waiting)
        reporting = asyncio.create_task(_give_signs_of_life(web))
        try:
            yield
        finally:
            for task in (following, reporting):
                task.cancel()
            await asyncio.wait({following, reporting})


async def _give_signs_of_life(web: Web) -> None:
    redis, keys, hub = web.here.state, web.here.keys, web.hub
    name = f"web@{socket.gethostname()}:{os.getpid()}"
    try:
        while True:
            facts = {"listeners": hub.listeners, "follows_events": not web.following.done()}
            with suppress(RedisError):
                await report(redis, keys, name, "web", facts)
            await asyncio.sleep(REPORT_EVERY.total_seconds())
    finally:
        with suppress(RedisError, TimeoutError):
            async with asyncio.timeout(1):  # whoever stops us does not wait for a store that is frozen
                await leave(redis, keys, name)


class SayHeaders:
    """Adds the headers that keep a browser from doing what no page of ours asks for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                message["headers"] += [pair for pair in HEADERS.items() if pair[0] not in said]
            await send(message)

        await self._app(scope, receive, say)
