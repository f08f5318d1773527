"""A real server in the test's own loop, and a listener to its events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI

from nightshift.settings import Settings
from nightshift.web.serve import listening_socket, new_server
from nightshift.web.state import Web


@dataclass(frozen=True)
class Served:
    """Where the application is served, and a token for it."""

    app: FastAPI
    port: int
    secret: str
    server: uvicorn.Server

    @property
    def web(self) -> Web:
        web: Web = self.app.state.web
        return web

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """As SIGTERM does."""
        self.server.should_exit = True

    @asynccontextmanager
    async def client(self, secret: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
        headers = {"Authorization": f"Bearer {secret or self.secret}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=20) as client:
            yield client

    @asynccontextmanager
    async def listener(self, after: str = "", *, secret: str | None = None) -> AsyncIterator[Listener]:
        """Somebody who listens; what came while nobody asked is kept."""
        resume = {"Last-Event-ID": after} if after else {}
        async with (
            self.client(secret) as client,
            client.stream("GET", "/v1/events", headers=resume) as response,
        ):
            assert response.status_code == 200, await response.aread()
            listener = Listener()
            reading = asyncio.create_task(listener.read(response))
            try:
                yield listener
            finally:
                reading.cancel()
                await asyncio.wait({reading})

    async def until_listeners(self, number: int) -> None:
        async with asyncio.timeout(10):
            while self.web.hub.listeners != number:
                await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Heard:
    """One frame as a listener got it."""

    kind: str
    data: Any
    id: str | None
    at: float


@dataclass
class Listener:
    """What somebody who listens has heard so far."""

    heard: list[Heard] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def read(self, response: httpx2.Response) -> None:
        facts: dict[str, str] = {}
        try:
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name in ("event", "id", "data"):
                    facts[name] = value
                elif not line and "event" in facts:
                    now = asyncio.get_running_loop().time()
                    self.heard.append(Heard(facts["event"], json.loads(facts["data"]), facts.get("id"), now))
                    facts = {}
                    self.more.set()
        except httpx2.TransportError:
            pass  # cut off, which is an end too
        self.ended = True
        self.more.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for frame in self.heard if frame.kind == "events" for event in frame.data]

    @property
    def kinds(self) -> list[str]:
        return [frame.kind for frame in self.heard]

    async def until_events(self, number: int, seconds: float = 10) -> list[dict[str, Any]]:
        async with asyncio.timeout(seconds):
            while len(self.events) < number and not self.ended:
                await self._news()
        return self.events

    async def until_frame(self, kind: str, seconds: float = 10) -> Heard:
        async with asyncio.timeout(seconds):
            while kind not in self.kinds and not self.ended:
                await self._news()
        return next(frame for frame in self.heard if frame.kind == kind)

    async def until_ended(self, seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not self.ended:
                await self._news()

    async def _news(self) -> None:
        self.more.clear()
        await self.more.wait()


@asynccontextmanager
async def served(app: FastAPI, secret: str) -> AsyncIterator[Served]:
    """Serve the application as ``nightshift web`` does, on a free port."""
    settings = Settings(web_port=0)
    server = new_server(app)
    with listening_socket(settings) as socket:
        serving = asyncio.create_task(server.serve(sockets=[socket]))
        try:
            while not server.started and not serving.done():
                await asyncio.sleep(0.005)
            yield Served(app, socket.getsockname()[1], secret, server)
        finally:
            server.should_exit = True
            await serving
