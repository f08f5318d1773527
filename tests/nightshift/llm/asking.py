"""What tests of the client share: a payer, an endpoint that answers as told, and the real parts around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from redis.asyncio import Redis

from nightshift.controls.freeze import Freeze
from nightshift.llm.breaker import Breaker
from nightshift.llm.calls import Calls
from nightshift.llm.endpoints import endpoint_resource, key_sources
from nightshift.llm.keypool import KeyPool
from nightshift.llm.models import Models
from nightshift.llm.prompts import PromptMessage
from nightshift.llm.settings import ModelSettings
from nightshift.llm.uses import Uses
from nightshift.money.caps import Caps
from nightshift.money.payer import Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.processes.resources import Resources
from nightshift.settings import Settings
from nightshift.store.keys import Keys

PAYER = Payer("heartbeat:a@1", "heartbeat:a", kind=Occasion.PERSON)
HELLO = (PromptMessage("user", "hello"),)
LOOK_EVERY = timedelta(milliseconds=20)


class Verdict(BaseModel):
    """What a heartbeat asks for."""

    act: bool
    why: str
    say: str | None = None


@dataclass
class Asking:
    """The client and all that stands around it."""

    models: Models
    purse: Purse
    freeze: Freeze
    pools: Mapping[str, KeyPool]
    redis: Redis
    keys: Keys

    async def spent(self) -> int:
        """What the payer's run has cost so far; fails if anything is still reserved."""
        assert not await self.redis.zcard(self.keys.holds)
        return int(await self.redis.get(self.keys.spent_by(PAYER.run)) or 0)


@asynccontextmanager
async def asking(
    redis: Redis, keys: Keys, *, budget: Decimal = Decimal(1000), **told: Any
) -> AsyncIterator[Asking]:
    """The client with these settings, over a real purse, freeze, breaker and key pools."""
    settings = Settings.model_construct(budget=BudgetSettings(day=budget), **told)
    uses = Uses(settings)
    parts = Resources(*(endpoint_resource(name, endpoint) for name, endpoint in uses.endpoints.items()))
    purse = Purse(redis, keys, Caps(redis, keys, settings.budget))
    freeze = Freeze(redis, keys, look_every=LOOK_EVERY)
    pools = {name: KeyPool(redis, keys, read, name) for name, read in key_sources(settings).items()}
    calls = Calls(parts, purse=purse, freeze=freeze, breaker=Breaker(redis, keys), pools=pools)
    try:
        yield Asking(Models(uses, calls), purse, freeze, pools, redis, keys)
    finally:
        await freeze.close()
        await parts.close()


def model_at(url: str, name: str = "flash-simulated", key: str | None = None) -> ModelSettings:
    """The short form of the settings."""
    return ModelSettings.model_validate({"url": url, "name": name, "key": key})


def completion(text: str = "hi", **more: Any) -> dict[str, Any]:
    """A chat completion as an endpoint sends it."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return {
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    } | more


@dataclass
class Scripted:
    """An endpoint that gives one answer after the other, the last for ever, and knows what it was asked."""

    answers: list[web.Response | dict[str, Any]] = field(default_factory=list)
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.shown.append(request.headers["authorization"].removeprefix("Bearer "))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, dict):
            return web.json_response(answer)
        # A response can be sent once only.
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


@asynccontextmanager
async def scripted(*answers: web.Response | dict[str, Any]) -> AsyncIterator[Scripted]:
    """Serve an endpoint inside the block."""
    endpoint = Scripted(list(answers))
    app = web.Application()
    app.add_routes([web.post("/v1/{path:.*}", endpoint.answer)])
    async with serving(app) as origin:
        endpoint.url = f"{origin}/v1"
        yield endpoint


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve this on a port of its own; gives the origin."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
