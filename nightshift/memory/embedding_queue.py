"""
The messages that wait for a vector, and the run that will see to them.

A message comes to wait in the same breath in which its text is stored, changed or taken back; see
``observe.lua``. ``wake`` then makes sure that a run is coming.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import cast

from nightshift.base.instants import from_ms, to_ms
from nightshift.base.refs import ChannelRef
from nightshift.memory.message import DIALOGUE, Message
from nightshift.memory.messages import Messages
from nightshift.memory.strays import Strays
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import State
from nightshift.store.client import store_now, text_list, text_value

SOURCE = "embedding"
TASK = "tasks.memory.embed"
#: What comes within this time is embedded together.
EVERY = timedelta(seconds=5)


class EmbeddingQueue:
    """Messages by since when they wait. Without a graph to keep vectors in, nobody is called for them."""

    def __init__(self, ledger: Ledger, messages: Messages, *, off: str = "") -> None:
        """``off`` says why there is nowhere to keep vectors, if there is not."""
        self.off = off
        self._ledger = ledger
        self._messages = messages
        self._redis = ledger.redis
        self._keys = ledger.keys
        self.strays = Strays(ledger.redis, ledger.keys)

    async def wake(self, at: datetime | None = None) -> None:
        """
        Make sure that a run is coming that sees to what waits: in a few seconds, or at this time.

        Call it after the messages wait. One run that has not begun is enough for all of them.
        """
        if self.off:
            return
        now = await store_now(self._redis)
        ready = _slot_after(max(at or now, now))
        coming = await text_value(self._redis, self._keys.embedding_run)
        row = await self._ledger.find(coming) if coming else None
        if row and row.state == State.WAITING and row.ready <= ready:
            return
        run = RunRequest(
            id=run_id(SOURCE, ready),
            source=SOURCE,
            nominal=ready,
            task=TASK,
            queue="io",
            lane=SOURCE,
            cause="messages wait for their vectors",
        )
        await self._ledger.record(run)
        await self._redis.set(self._keys.embedding_run, run.id)

    async def add(self, messages: Iterable[Message], now: datetime) -> int:
        """Let these wait, unless they do so already; returns how many do now that did not."""
        waiting = {
            _member(each): to_ms(now) for each in messages if each.origin in DIALOGUE and not each.deleted
        }
        if not waiting:
            return 0
        return cast(int, await self._redis.zadd(self._keys.unembedded, dict(waiting), nx=True))

    async def take(self, until: datetime, limit: int) -> list[Message]:
        """Those that have waited since this instant or longer, the longest waiting first."""
        members = await text_list(
            self._redis.zrange(self._keys.unembedded, "-inf", to_ms(until), byscore=True, offset=0, num=limit)
        )
        asked: dict[ChannelRef, list[str]] = {}
        for member in members:
            ref, _, id = member.partition(" ")
            asked.setdefault(ChannelRef.parse(ref), []).append(id)
        found = [
            each for ref, ids in asked.items() for each in (await self._messages.find(ref, ids)).values()
        ]
        # Nothing is known of the others any more.
        if gone := set(members) - {_member(each) for each in found}:
            await self._redis.zrem(self._keys.unembedded, *gone)
        return found

    async def postpone(self, messages: Iterable[Message], until: datetime) -> None:
        """Look at these no sooner than then."""
        await self._redis.zadd(
            self._keys.unembedded, {_member(each): to_ms(until) for each in messages}, xx=True, gt=True
        )

    async def next(self) -> datetime | None:
        """Since when the longest waiting waits, or when it shall be looked at; strays wait, too."""
        first = await self._redis.zrange(self._keys.unembedded, 0, 0, withscores=True)
        waiting = [from_ms(first[0][1])] if first else []
        if stray := await self.strays.next():
            waiting.append(stray)
        return min(waiting, default=None)

    async def count(self) -> int:
        return int(await self._redis.zcard(self._keys.unembedded)) + await self.strays.count()


def _member(message: Message) -> str:
    return f"{message.ref} {message.id}"


def _slot_after(instant: datetime) -> datetime:
    grid = EVERY // timedelta(milliseconds=1)
    return from_ms((to_ms(instant) // grid + 1) * grid).astimezone(UTC)
