"""
What the pages show, read once for all that are open.

A board is asked for by pages and forgets what nobody asks for. Each change in the event stream makes what it
has stale; the first page that looks again reads anew, the others get the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError

from nightshift.base.errors import NightshiftError
from nightshift.store.client import translated
from nightshift.web.hub import EventHub

log = structlog.get_logger("nightshift.web")

#: Whatever changes, nothing is read more often than this.
PACE = timedelta(seconds=0.3)
#: And whatever does not, no more seldom: signs of life and leases make no events.
AT_LEAST = timedelta(seconds=3)
#: What nobody has asked for this long is forgotten.
KEEP = timedelta(seconds=30)


@dataclass
class _Part:
    """One thing that pages show, as it was last read."""

    read: Callable[[], Awaitable[str]]
    asked: float
    html: str = ""
    at: float = float("-inf")
    stale: bool = True
    reading: asyncio.Task[None] | None = None


class Board:
    """Parts of pages as HTML, by what they show."""

    def __init__(self, hub: EventHub, now: Callable[[], datetime]) -> None:
        self._hub = hub
        self._now = now
        self._parts: dict[Hashable, _Part] = {}
        #: Since when the store does not answer.
        self.away_since: datetime | None = None

    async def follow(self) -> None:
        """Mark what is shown as stale whenever something has happened."""
        loop = asyncio.get_running_loop()
        while True:
            await self._hub.until_changed(AT_LEAST)
            self.away_since = (self.away_since or self._now()) if self._hub.away else None
            self.changed()
            for key, part in list(self._parts.items()):
                if loop.time() - part.asked > KEEP.total_seconds():
                    del self._parts[key]

    def changed(self) -> None:
        """Have everything read anew: something has changed, or may have."""
        for part in self._parts.values():
            part.stale = True

    async def show(self, key: Hashable, read: Callable[[], Awaitable[str]]) -> str:
        """This part, read anew if it may have changed; while the store is away, as it last was."""
        now = asyncio.get_running_loop().time()
        part = self._parts.setdefault(key, _Part(read, now))
        part.asked = now
        if part.stale and not self._hub.away and now - part.at >= PACE.total_seconds():
            if part.reading is None or part.reading.done():
                part.reading = asyncio.create_task(self._read(part))
            await asyncio.shield(part.reading)
        return part.html

    async def _read(self, part: _Part) -> None:
        part.at = asyncio.get_running_loop().time()
        part.stale = False
        try:
            part.html = await part.read()
        except (RedisError, NightshiftError) as error:
            part.stale = True
            log.warning(
                "page_not_read", error=str(translated(error) if isinstance(error, RedisError) else error)
            )
