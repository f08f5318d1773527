"""
The event stream for many listeners: read once a process, encoded once an event.

A listener has no queue of its own, only the id of the event that it saw last. What is recent comes from a
ring that all share, what is older from the store, so one that reads slowly, or never, costs a position.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.errors import BadQuery
from nightshift.base.words import stamp
from nightshift.store.client import translated
from nightshift.store.events import BLOCK, LAST_OF_A_MS, Event, read_events
from nightshift.store.keys import Keys

log = structlog.get_logger("nightshift.web")

#: Events that come soon after one another are taken out of the store together.
GATHER = timedelta(seconds=0.1)
#: A listener gets no more than four frames a second.
PACE = timedelta(seconds=0.25)
#: Events kept for listeners that are a little behind.
RING = 20_000
#: Events in one frame, and in one answer of the store.
FRAME = 1_000
AGAIN = timedelta(seconds=0.5)

Position = tuple[int, int]
Sees = Callable[[Event], bool]


@dataclass(frozen=True)
class Frame:
    """What a listener is sent at once."""

    #: ``events``; ``gap`` if some were dropped before it could have them; ``away`` and ``back`` of the store.
    kind: str
    data: str
    #: Where to go on after this; nothing if that is where the listener was.
    id: str | None = None


@dataclass(frozen=True)
class _Kept:
    position: Position
    event: Event
    text: str


@dataclass(frozen=True)
class _Batch:
    """What a listener comes to next: some events, or a gap."""

    events: Sequence[_Kept]
    gap: tuple[Position, Position] | None = None

    @property
    def at(self) -> Position:
        """Where the listener is after this."""
        return _before(self.gap[1]) if self.gap else self.events[-1].position

    def as_seen(self, sees: Sees) -> Frame | None:
        """As a frame for somebody who sees only some events; nothing if it is none of these."""
        if self.gap:
            after, oldest = map(_text, self.gap)
            return Frame("gap", json.dumps({"after": after, "next": oldest}), _text(self.at))
        seen = ",".join(each.text for each in self.events if sees(each.event))
        return Frame("events", f"[{seen}]", _text(self.at)) if seen else None


class EventHub:
    """Follows the stream, and hands it on to whoever listens."""

    def __init__(self, redis: Redis, keys: Keys, hear: Callable[[Event], None] | None = None) -> None:
        """``hear`` is told of each event as it comes."""
        self._hear = hear or (lambda event: None)
        self._redis = redis
        self._keys = keys
        self._ring: deque[_Kept] = deque(maxlen=RING)
        self._last: Position | None = None
        self._changed = asyncio.Event()
        #: Those of late, so that the same frame for many listeners is one, whether they take it or not.
        self._frames: dict[Frame, Frame] = {}
        #: Why there is nothing new to tell, while the store is away.
        self.away: str | None = None
        self.listeners = 0

    async def follow(self) -> None:
        """Read the stream for as long as this runs; a store that is away is waited for."""
        while True:
            try:
                if self._last is None:
                    self._last = await self._newest()
                    self._turn(away=None)  # listeners who came earlier begin here
                events = await read_events(
                    self._redis, self._keys, after=_text(self._last), limit=RING, block=BLOCK
                )
            except RedisError as error:
                if self.away is None:
                    log.warning("store_away", error=str(translated(error)))
                self._turn(away=str(translated(error)))
                await asyncio.sleep(AGAIN.total_seconds())
                continue
            self._ring.extend(_Kept(_position(event.id), event, encode(event)) for event in events)
            for event in events:
                self._hear(event)
            if events:
                self._last = self._ring[-1].position
                self._frames.clear()
            if events or self.away is not None:
                self._turn(away=None)
                await asyncio.sleep(GATHER.total_seconds())

    def _turn(self, *, away: str | None) -> None:
        self.away = away
        self._changed.set()
        self._changed = asyncio.Event()

    async def _newest(self) -> Position:
        newest: Any = await self._redis.xrevrange(self._keys.events, count=1)
        return _position(newest[0][0]) if newest else (0, 0)

    async def _no_later_than_newest(self, at: Position) -> Position:
        """Ahead of us may be who was just served from the store; nobody is ahead of the store."""
        try:
            return min(at, await self._newest())
        except RedisError:
            return at

    async def until_changed(self, patience: timedelta) -> bool:
        """Wait for news of any kind; false if none came."""
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def listen(self, *, after: str | None, sees: Sees) -> AsyncGenerator[Frame]:
        """What happens after this event, or from now on, as it happens, in frames."""
        at = _position(after) if after else self._last
        was_away = False
        self.listeners += 1
        try:
            while True:
                changed = self._changed
                if (self.away is not None) != was_away:
                    was_away = self.away is not None
                    yield Frame("away" if was_away else "back", json.dumps({"why": self.away or ""}))
                if at is None:
                    at = self._last
                elif self._last and at > self._last:
                    at = await self._no_later_than_newest(at)
                batch = await self._next(at) if at and not was_away else None
                if batch is None:
                    await changed.wait()
                    continue
                at = batch.at
                if frame := batch.as_seen(sees):
                    yield self._frames.setdefault(frame, frame)
                    await asyncio.sleep(PACE.total_seconds())
        finally:
            self.listeners -= 1

    async def _next(self, at: Position) -> _Batch | None:
        """What comes after this position; nothing if there is nothing yet."""
        if self._last is None or at >= self._last:
            return None
        if self._ring and self._ring[0].position <= at:
            return _Batch(self._recent(at))
        try:
            oldest = await self._oldest_if_dropped_since(at)
            if oldest:
                return _Batch((), gap=(at, oldest))
            older = await read_events(self._redis, self._keys, after=_text(at), limit=FRAME)
        except RedisError:
            return None  # the one who follows the stream says that it is away
        return (
            _Batch([_Kept(_position(event.id), event, encode(event)) for event in older]) if older else None
        )

    def _recent(self, at: Position) -> list[_Kept]:
        kept: deque[_Kept] = deque()
        for each in reversed(self._ring):
            if each.position <= at:
                break
            kept.appendleft(each)
        return [kept.popleft() for _ in range(min(len(kept), FRAME))]

    async def _oldest_if_dropped_since(self, at: Position) -> Position | None:
        """The oldest event that is kept, if there may have been others between this position and it."""
        entries: Any = await self._redis.xrange(self._keys.events, count=1)
        if not entries:
            return None
        oldest = _position(entries[0][0])
        stream: Any = await self._redis.xinfo_stream(self._keys.events)
        return oldest if at < _before(oldest) and stream["entries-added"] > stream["length"] else None


def encode(event: Event) -> str:
    """The event as listeners get it."""
    told = {"id": event.id, "at": stamp(event.at), "type": event.type, **event.facts}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def parse_position(text: str) -> str:
    """An event's id as a listener gives it back, or a refusal."""
    if not re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", text) or max(_position(text)) > LAST_OF_A_MS:
        raise BadQuery(
            f"{text!r} is no event's id; give the id that came with the last frame, as 1763700000000-0"
        )
    return text


def _position(id: str) -> Position:
    ms, _, number = id.partition("-")
    return int(ms), int(number)


def _before(position: Position) -> Position:
    ms, number = position
    return (ms, number - 1) if number else (ms - 1, LAST_OF_A_MS)


def _text(position: Position) -> str:
    return f"{position[0]}-{position[1]}"
