"""The other side of a platform's API: a server that answers as told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    #: As it was written, percent signs and all.
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    #: Who asked: another one on each connection.
    peer: object

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered; bytes as they are, anything else as JSON."""

    content: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


#: Instead of an answer.
RESET, HANG = "reset", "hang"


class OtherSide:
    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self._replies: dict[tuple[str, str], list[Reply | str]] = {}
        self._gone = asyncio.Event()

    def answer(self, method: str, path: str, *replies: Reply | str) -> None:
        """Answer this request so, in turn; the last answer is given ever after. ``*`` is any path."""
        self._replies[method, path] = list(replies)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.rel_url.raw_path
        peer = request.get_extra_info("peername")
        self.asked.append(Asked(request.method, path, dict(request.query), request.headers, body, peer))
        replies = self._replies.get((request.method, path)) or self._replies.get((request.method, "*"))
        if not replies:
            return web.Response(status=404, text=f"no answer for {request.method} {path}")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if reply == HANG:
            await self._gone.wait()
        if isinstance(reply, str):
            assert request.transport
            request.transport.abort()
            return web.Response()
        content = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        return web.Response(status=reply.status, body=content, headers=reply.headers)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[OtherSide]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            self._gone.set()
            await runner.cleanup()
