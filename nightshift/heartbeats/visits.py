"""The visits of all channels in Redis: which there are, when each is due, and what came of the last."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, cast

from redis.asyncio import Redis

from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats import plan
from nightshift.heartbeats.row import VisitRow
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.store.client import text_hash
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

#: Channels that one call of a script goes through.
BATCH = 500

Refusal = Literal["repeated", "enough"]


class Visits:
    """The only way to change when channels are visited, other than a visit itself."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        clock: Callable[[], datetime] | None = None,
        lot: Random | None = None,
    ) -> None:
        """``clock`` and ``lot`` replace the server's time and chance in tests."""
        self.redis = redis
        self.keys = keys
        self._lot = lot or Random()  # noqa: S311  nobody gains by guessing it
        names = ("adopt", "touch", "drop_visits", "replace", "settle_visit", "act")
        self._scripts = Scripts("nightshift.heartbeats", names, redis, keys, clock=clock)

    async def adopt(
        self, channels: Mapping[ChannelRef, datetime | None], rules: HeartbeatRules, *, now: datetime
    ) -> int:
        """
        Have these channels visited, each from a moment of its own; returns how many were not yet.

        With each channel comes when a person last spoke there: one that is suspended waits for that.
        """
        drawn = [
            [str(ref), to_ms(now + plan.spread(rules, self._lot)), to_ms(human_at) if human_at else 0]
            for ref, human_at in channels.items()
        ]
        return await self._in_batches("adopt", drawn, interval_ms=rules.interval // timedelta(milliseconds=1))

    async def touched(self, *refs: ChannelRef) -> None:
        """
        A person spoke in these channels, so they are visited at their usual pace again.

        Cheap where they are already; may be called for every message.
        """
        await self._in_batches("touch", [[str(ref), self._lot.random()] for ref in refs])

    async def drop(self, channels: Iterable[str]) -> int:
        """Let these channels be visited no more until they are adopted again."""
        return await self._in_batches("drop_visits", list(channels))

    async def forget(self, refs: Iterable[ChannelRef], *, topics_only: bool = False) -> int:
        """Keep nothing of these channels' visits, or nothing of what their acts were about."""
        forget = "topics" if topics_only else "row"
        return await self._in_batches("drop_visits", [str(ref) for ref in refs], forget=forget)

    async def replace_misplaced(self, rules: HeartbeatRules, *, again: timedelta) -> int:
        """Give another time to visits that lie further ahead than any may, because a clock was set."""
        limits = {
            "ahead_ms": plan.longest_pause(rules) // timedelta(milliseconds=1),
            "again_ms": again // timedelta(milliseconds=1),
        }
        return cast(int, await self._scripts.run("replace", limit=BATCH, **limits))

    async def looked(self, ref: ChannelRef, digest: str, *, at: datetime) -> None:
        """A model has looked at the channel as it stood with this digest."""
        known = {"digest": digest, "thought_at": str(to_ms(at))}
        none = dict.fromkeys(("failures", "own_failures", "needs"), "0")
        await self._scripts.run("settle_visit", channel=str(ref), fields=known | none)

    async def unaffordable(self, ref: ChannelRef, needs: int) -> None:
        """A look was refused as there was no room for so much: the next visits ask for that much first."""
        await self._scripts.run("settle_visit", channel=str(ref), fields={"needs": str(needs)})

    async def failed(
        self, ref: ChannelRef, generation: int, *, failures: int, own: int, next: datetime
    ) -> None:
        """The look failed, so many times in a row, ``own`` of them by the channel's doing; try again then."""
        move = {"generation": str(generation), "next": str(to_ms(next))}
        fields = {"failures": str(failures), "own_failures": str(own)}
        await self._scripts.run("settle_visit", channel=str(ref), fields=fields, **move)

    async def may_act(
        self, ref: ChannelRef, run: str, marks: Sequence[str], topic: str, rules: HeartbeatRules
    ) -> tuple[Refusal, int] | None:
        """Let this run speak up; or say that the same was said, when, or that enough was, how often."""
        answer = await self._scripts.run(
            "act",
            channel=str(ref),
            run=run,
            marks=list(marks),
            topic=topic,
            per_day=rules.acts_per_day,
            repeat_ms=rules.repeat_after // timedelta(milliseconds=1),
        )
        return None if answer[0] == "act" else (answer[0], int(answer[1]))

    async def find(self, ref: ChannelRef) -> VisitRow | None:
        return VisitRow.from_hash(await text_hash(self.redis, self.keys.visit(str(ref))))

    async def count(self) -> int:
        """How many channels are visited."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.zcard(self.keys.visits)
        pipeline.zcard(self.keys.visits_out)
        return sum(await pipeline.execute())

    async def _in_batches(self, script: str, channels: list[Any], **request: Any) -> int:
        changed = 0
        for first in range(0, len(channels), BATCH):
            changed += await self._scripts.run(script, channels=channels[first : first + BATCH], **request)
        return changed
