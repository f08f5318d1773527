"""The summary of each channel, and those that held before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from redis.asyncio import Redis

from nightshift.base.instants import from_ms, to_ms
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.channels.audience import narrowed
from nightshift.channels.channel import Channel
from nightshift.memory.message import Message, Place
from nightshift.store.client import LARGEST_READ, take, text_hash, text_list, walk_index
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

#: How long a summary is kept after another took its place.
KEPT = timedelta(days=30)
#: How long one holds in a channel where nothing more is said: as long as messages are kept.
LASTS = timedelta(days=90)


@dataclass(frozen=True)
class Summary:
    """What was said in a channel up to some place, in a few words of a model's."""

    text: str
    #: The messages that it rests on, each in the version that was read.
    rests_on: Mapping[str, int]
    #: The last message that was read for it.
    until: Place
    #: Messages that were read for it, and for those that it continues.
    messages: int
    audience: str
    at: datetime
    run: str
    model: str
    prompt: str

    def to_json(self) -> str:
        return json.dumps(self.__dict__ | {"at": to_ms(self.at)}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        row: dict[str, Any] = json.loads(text)
        at, place = row["until"]
        return cls(**row | {"at": from_ms(row["at"]), "until": (float(at), str(place))})


@dataclass(frozen=True)
class SummaryStanding:
    """The summary that holds, if any, and how often that has changed."""

    summary: Summary | None
    round: int


class Summaries:
    """The only way to change a summary."""

    def __init__(self, redis: Redis, keys: Keys, *, clock: Callable[[], datetime] | None = None) -> None:
        """``clock`` replaces the server's time in tests."""
        self._redis = redis
        self._keys = keys
        self._scripts = Scripts("nightshift.memory", ("keep_summary",), redis, keys, clock=clock)

    async def standing(self, channel: Channel) -> SummaryStanding:
        """The summary of this channel, for no more to see than may see the channel now."""
        row = await text_hash(self._redis, self._keys.summary(channel.ref))
        summary = _for(channel, row["summary"]) if "summary" in row else None
        return SummaryStanding(summary, int(row.get("round", 0)))

    async def before(self, channel: Channel) -> list[Summary]:
        """Those that held before, the latest first."""
        kept = await text_list(self._redis.zrevrange(self._keys.summaries(channel.ref), 0, -1))
        return [_for(channel, each) for each in kept]

    async def keep(
        self, ref: ChannelRef, summary: Summary, *, round: int, read: Sequence[Message] = ()
    ) -> Literal["kept", "known", "stale"]:
        """
        Let this one hold from now on, unless the standing has changed since that round.

        So nothing comes back that was forgotten while a model read it. ``read``: the messages that it is
        made of beside the one before.
        """
        speakers = {UserRef(ref.platform, each.user_id) for each in read if each.user_id}
        answer: Literal["kept", "known", "stale"] = await self._scripts.run(
            "keep_summary",
            ref=str(ref),
            summary=summary.to_json(),
            # A run makes one for each round.
            id=f"{summary.run} {round}",
            round=round,
            read=[each.id for each in read],
            speakers=sorted(map(str, speakers)),
            keep_ms=KEPT // timedelta(milliseconds=1),
            last_ms=LASTS // timedelta(milliseconds=1),
        )
        return answer

    async def drop(self, ref: ChannelRef) -> None:
        """Drop every summary of this channel; the next is made of the messages there are."""
        await self._scripts.run("keep_summary", ref=str(ref))

    async def channels_of(self, user: UserRef) -> set[ChannelRef]:
        """The channels whose summaries may hold this user's words, however long ago they were said."""
        found: set[ChannelRef] = set()
        async with aclosing(walk_index(self._redis, self._keys.channels, None)) as entries:
            while refs := [ChannelRef.parse(ref) for _, ref in await take(entries, LARGEST_READ)]:
                asked = self._redis.pipeline(transaction=False)
                for ref in refs:
                    asked.sismember(self._keys.speakers(ref), str(user))
                found |= {ref for ref, spoke in zip(refs, await asked.execute(), strict=True) if spoke}
        return found

    async def count(self, ref: ChannelRef) -> int:
        asked = self._redis.pipeline(transaction=False)
        asked.hexists(self._keys.summary(ref), "summary")
        asked.zcard(self._keys.summaries(ref))
        return sum(map(int, await asked.execute()))


def _for(channel: Channel, text: str) -> Summary:
    summary = Summary.from_json(text)
    return replace(summary, audience=narrowed(summary.audience, channel))
