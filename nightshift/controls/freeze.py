"""
The freeze: every call and every send stops within seconds, everywhere, until somebody thaws.

It stands among the switches, so that whoever reads those knows of it without another question.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.errors import Frozen
from nightshift.base.instants import from_ms, to_ms
from nightshift.base.words import clock
from nightshift.runs.queues import MODEL_QUEUES
from nightshift.runs.spread import spread_waiting
from nightshift.store.client import store_now, text_field
from nightshift.store.events import publish_event
from nightshift.store.keys import Keys

log = structlog.get_logger("nightshift.freeze")

#: The field of the switches that holds it.
FROZEN = "frozen"
#: While calls are under way, the store is asked this often.
LOOK_EVERY = timedelta(seconds=2)
#: A run that met the freeze looks again after this, unless a thaw calls it earlier.
LOOK_AGAIN = timedelta(minutes=15)


@dataclass(frozen=True)
class Freezing:
    """Who stopped everything, when and why."""

    by: str
    reason: str
    since: datetime

    def to_json(self) -> str:
        return json.dumps({"by": self.by, "reason": self.reason, "since": to_ms(self.since)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        row = json.loads(text)
        return cls(row["by"], row["reason"], from_ms(row["since"]))

    def describe(self) -> str:
        """Say it in a line."""
        return f"{self.by} froze every call and send at {clock(self.since)}" + (
            f": {self.reason}" if self.reason else ""
        )

    def error(self) -> Frozen:
        return Frozen(f"{self.describe()}; `nightshift thaw` ends it", retry_after=LOOK_AGAIN)


class Freeze:
    """The freeze as it stands in the store; one of these a process, so that one poll serves all its calls."""

    def __init__(self, redis: Redis, keys: Keys, *, look_every: timedelta = LOOK_EVERY) -> None:
        self._redis = redis
        self._keys = keys
        self._look_every = look_every
        self._watched: set[asyncio.Timeout] = set()
        self._looking: asyncio.Task[None] | None = None
        self._met: Freezing | None = None

    async def freeze(self, by: str, reason: str = "") -> Freezing:
        """Stop every call and send; who was first to do so stays the one who did."""
        wanted = Freezing(by, reason, await store_now(self._redis))
        if await self._redis.hsetnx(self._keys.switches, FROZEN, wanted.to_json()):
            facts = {"by": by, "reason": reason}
            await publish_event(self._redis, self._keys, "frozen", "freeze", status="frozen", facts=facts)
        return await self.state() or wanted

    async def thaw(self, by: str) -> int | None:
        """
        Let calls and sends be made again; nothing if nothing was frozen.

        Returns how many runs waited, which now come back one by one.
        """
        thawed = bool(await self._redis.hdel(self._keys.switches, FROZEN))
        if not thawed:
            return None
        waited = await spread_waiting(self._redis, self._keys, Frozen, queues=MODEL_QUEUES)
        facts = {"by": by, "waited": str(waited)}
        await publish_event(self._redis, self._keys, "thawed", "freeze", facts=facts)
        return waited

    async def state(self) -> Freezing | None:
        stored = await text_field(self._redis, self._keys.switches, FROZEN)
        return Freezing.from_json(stored) if stored else None

    async def refuse(self) -> None:
        """Raise Frozen if nothing may be called or sent."""
        if found := await self.state():
            raise found.error()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """Cancel what is done inside as soon as somebody freezes, and raise Frozen."""
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._watched.add(limit)
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(self._look())
                try:
                    yield
                finally:
                    self._watched.discard(limit)
        except TimeoutError:
            if limit.expired() and self._met:
                raise self._met.error() from None
            raise

    async def close(self) -> None:
        """Look no more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        """Ask the store for as long as anything is watched."""
        while True:
            await asyncio.sleep(self._look_every.total_seconds())
            if not self._watched:
                return
            try:
                self._met = await self.state()
            except RedisError as error:
                log.warning("freeze_not_read", why=f"{type(error).__name__}: {error}")
                continue
            if self._met:
                while self._watched:
                    self._watched.pop().reschedule(asyncio.get_running_loop().time())


def describe_thaw(waited: int | None) -> str:
    """Say what a thaw has done."""
    if waited is None:
        return "nothing was frozen"
    if waited < 2:
        return f"thawed; {'one run that waited comes back' if waited else 'no run had to wait'}"
    return f"thawed; {waited} runs that waited come back one by one"
