"""A model that says what the test wants, asked by our own client; it keeps every request as it came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from nightshift.controls.freeze import Freeze
from nightshift.llm.breaker import Breaker
from nightshift.llm.calls import Calls
from nightshift.llm.endpoints import endpoint_resource
from nightshift.llm.models import Models
from nightshift.llm.uses import Uses
from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.processes.resources import Resources
from nightshift.settings import Settings
from nightshift.store.keys import Keys


@dataclass
class Model:
    """What it will say, and what it was asked."""

    url: str = ""
    decision: dict[str, Any] = field(
        default_factory=lambda: {"act": False, "why": "nothing to say", "topic": "", "say": None}
    )
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[str] = field(default_factory=list)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    def decide(self, say: str, topic: str = "something") -> None:
        self.decision = {"act": True, "why": "because", "topic": topic, "say": say}

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.text())
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status, headers=self.headers)
        message = {"role": "assistant", "content": json.dumps(self.decision), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "cost": 0.000123}
        told = {"id": "1", "object": "chat.completion", "created": 0, "model": "flash", "choices": [choice]}
        return web.json_response(told | {"usage": usage})


@asynccontextmanager
async def answering() -> AsyncIterator[Model]:
    """The model at an address of its own."""
    model = Model()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield model
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asked_model(redis: Redis, keys: Keys) -> AsyncIterator[tuple[Model, Models]]:
    """The model, and the client that asks it."""
    async with answering() as model:
        told = {"name": "flash", "price_in": "1", "price_out": "1"}
        settings = Settings(model={"url": model.url}, models={"flash": told})
        parts = Resources(*(endpoint_resource(*each) for each in settings.all_endpoints.items()))
        freeze = Freeze(redis, keys)
        calls = Calls(
            parts,
            purse=Purse(redis, keys, Caps(redis, keys, settings.budget)),
            freeze=freeze,
            breaker=Breaker(redis, keys),
            pools={},
        )
        try:
            yield model, Models(Uses(settings), calls)
        finally:
            await parts.close()
            await freeze.close()
