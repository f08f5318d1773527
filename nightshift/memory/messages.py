"""
What was said, in Redis: by channel in order, and by the id that the platform gave it.

Whoever sees something tells it here, as often as they like: a message is known by its id, what was taken back
or forgotten does not come back, and what we sent ourselves is known when its echo comes, in whichever order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef, UserRef, is_id
from nightshift.base.words import fit_name
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.memory.limits import Limits, fit_text
from nightshift.memory.message import Message, MessageKind, Observed, Origin, Place
from nightshift.store.client import LARGEST_READ, take, text_hash, text_list, walk_index
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

#: What may become of something that is observed; anything else says why it was refused.
TAKEN = ("new", "edited", "deleted", "echo", "known")
OWN = "own"


@dataclass(frozen=True)
class ObserveResult:
    """What became of each thing observed, in the order in which they came."""

    outcomes: Sequence[str]
    #: Texts that were too long to be kept whole.
    cut: int
    #: Channels in which a person said something new.
    touched: frozenset[ChannelRef]

    @property
    def new(self) -> int:
        return self.outcomes.count("new")

    @property
    def edited(self) -> int:
        return self.outcomes.count("edited")

    @property
    def deleted(self) -> int:
        return self.outcomes.count("deleted")

    @property
    def echoes(self) -> int:
        """What we sent ourselves."""
        return self.outcomes.count("echo")

    @property
    def known(self) -> int:
        """What had been told before."""
        return self.outcomes.count("known")

    @property
    def refused(self) -> Mapping[str, int]:
        """How many were not taken in, by the reason."""
        return Counter(outcome for outcome in self.outcomes if outcome not in TAKEN)


class Messages:
    """The only way to change what is remembered of a message."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        limits: Limits | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.redis = redis
        self.keys = keys
        self.limits = limits or Limits()
        self.channels = Channels(redis, keys, clock=clock)
        names = ("observe", "embedded", "forget_messages")
        self._scripts = Scripts("nightshift.memory", names, redis, keys, clock=clock)

    # Changing

    async def observe(
        self, batch: Sequence[Observed], *, tenant: str = "default", agent: str = "default"
    ) -> ObserveResult:
        """Take in what was seen to happen, in that order; telling it again changes nothing."""
        outcomes = ["" for _ in batch]
        cut = 0
        taken: dict[ChannelRef, list[tuple[int, dict[str, Any]]]] = {}
        for index, seen in enumerate(batch):
            if why := self._refusal(index, seen):
                outcomes[index] = why
                continue
            item = self._item(seen.kind, seen)
            cut += item["cut"] > 0
            taken.setdefault(seen.ref, []).append((index, item))
        words, humans, _ = await self._observe(
            {ref: [item for _, item in items] for ref, items in taken.items()}, tenant, agent
        )
        told = [index for items in taken.values() for index, _ in items]
        for index, word in zip(told, words, strict=True):
            outcomes[index] = word
        return ObserveResult(outcomes, cut, frozenset(map(ChannelRef.parse, humans)))

    async def record_own(
        self,
        ref: ChannelRef,
        message_id: str,
        text: str,
        *,
        at: datetime,
        origin: Origin = Origin.AGENT,
        user_id: str = "",
        tenant: str = "default",
        agent: str = "default",
    ) -> str:
        """
        Note what we sent, so that its echo is known for one, even if it has come already.

        Returns ``new``, ``echo`` if it had come, ``known`` if this was told before, or why it is not kept.
        """
        if not is_id(message_id):
            return "no id"
        sent = Observed(MessageKind.NEW, ref, message_id, user_id, text=text, at=at, origin=origin)
        (word,), _, _ = await self._observe({ref: [self._item(OWN, sent)]}, tenant, agent)
        return str(word)

    async def learn_own_user(self, user: UserRef, *, agent: str, tenant: str = "default") -> None:
        """From now on, take nothing that this user says in the tenant's channels for a person's."""
        await self.redis.hset(self.keys.own_users(tenant), str(user), agent)

    async def mark_embedded(self, messages: Sequence[Message], model: str) -> int:
        """
        Note that these have their vector now; ``model`` is empty if it was taken away.

        Returns how many still wait, because their text has changed since they were read.
        """
        items = [{"ref": str(each.ref), "id": each.id, "version": each.version} for each in messages]
        return int(await self._scripts.run("embedded", items=items, model=model))

    async def drop_old(self) -> int:
        """Drop what is older than it is kept, channel by channel; safe to run twice."""
        dropped = 0
        async with aclosing(walk_index(self.redis, self.keys.channels, None)) as entries:
            while refs := [ChannelRef.parse(ref) for _, ref in await take(entries, LARGEST_READ)]:
                again = True
                while again:
                    _, _, gone = await self._observe({ref: [] for ref in refs}, None, "")
                    dropped, again = dropped + gone, gone > 0
        return dropped

    # Reading

    async def find(self, ref: ChannelRef, ids: Sequence[str]) -> dict[str, Message]:
        """Those that are known, by id; of one that was taken back, only that there was one."""
        channel = await self.channels.find(ref)
        return {each.id: each for each in await self._read(channel, ids)} if channel else {}

    async def last(self, ref: ChannelRef, limit: int) -> list[Message]:
        """The last messages of a channel in their order, without those that were taken back."""
        found = await self._walk(ref, None, limit, descending=True)
        return found[::-1]

    async def after(self, ref: ChannelRef, place: Place | None, limit: int) -> list[Message]:
        """The messages past this place in their order, without those that were taken back."""
        return await self._walk(ref, place, limit, descending=False)

    async def late(self, ref: ChannelRef, until: Place) -> list[Message]:
        """
        Those up to this place that were told after later ones, and are in no summary yet.

        Without those that were taken back.
        """
        channel = await self.channels.find(ref)
        ids = await text_list(self.redis.zrange(self.keys.late(ref), "-inf", until[0], byscore=True))
        found = await self._read(channel, ids) if channel else []
        return [each for each in found if each.place <= until and not each.deleted]

    async def count(self, ref: ChannelRef) -> int:
        return int(await self.redis.zcard(self.keys.messages(ref)))

    async def digest(self, ref: ChannelRef) -> str:
        """
        Another as soon as people or other agents say, change or take back something in this channel.

        What its own agent says leaves it as it is, and so does what goes because it is old.
        """
        channel = await self.channels.find(ref)
        return channel.digest if channel else "0"

    async def own_users(self, tenant: str = "default") -> dict[UserRef, str]:
        """The users that are agents of this tenant's, and which."""
        stored = await text_hash(self.redis, self.keys.own_users(tenant))
        return {UserRef.parse(user): agent for user, agent in stored.items()}

    # Forgetting; see ``memory.forget``, which reaches the other stores as well.

    async def channels_of(self, user: UserRef) -> list[ChannelRef]:
        """The channels in which this user has spoken, as far as that is remembered."""
        members: Any = self.redis.smembers(self.keys.spoke_in(user))
        return sorted(map(ChannelRef.parse, await members))

    async def forget_channel(self, ref: ChannelRef, *, dry_run: bool = False) -> int:
        """Forget a channel and all that was said in it up to now; returns how many messages."""
        return int(await self._scripts.run("forget_messages", ref=str(ref), **_dry(dry_run)))

    async def forget_user(self, user: UserRef, *, dry_run: bool = False) -> int:
        """Forget all that this user said up to now, wherever; returns how many messages."""
        await self._scripts.run("forget_messages", by=str(user), **_dry(dry_run))
        gone = 0
        for ref in await self.channels_of(user):
            gone += int(
                await self._scripts.run("forget_messages", by=str(user), ref=str(ref), **_dry(dry_run))
            )
        return gone

    # How

    def _refusal(self, index: int, seen: Observed) -> str:
        if index >= self.limits.batch:
            return f"more than {self.limits.batch} at once"
        if not is_id(seen.id):
            return "no id"
        if seen.user_id and not is_id(seen.user_id):
            return "no user's id"
        return ""

    def _item(self, kind: str, seen: Observed) -> dict[str, Any]:
        text, cut = fit_text(seen.text, self.limits.text)
        item: dict[str, Any] = {
            "kind": kind,
            "id": seen.id,
            "by": str(UserRef(seen.ref.platform, seen.user_id)) if seen.user_id else "",
            "name": fit_name(seen.user_name),
            "text": text,
            "cut": cut,
            "origin": seen.origin,
            "reply_to": seen.reply_to if is_id(seen.reply_to) else "",
        }
        if seen.at:
            item["at"] = to_ms(seen.at)
        if seen.edited_at:
            item["edited"] = to_ms(seen.edited_at)
        return item

    async def _observe(
        self, items: Mapping[ChannelRef, Sequence[Mapping[str, Any]]], tenant: str | None, agent: str
    ) -> Any:
        channels = [
            {"ref": str(ref), "platform": ref.platform, "id": ref.id, "items": told}
            for ref, told in items.items()
        ]
        return await self._scripts.run(
            "observe",
            channels=channels,
            agent=agent,
            messages=self.limits.messages,
            age_ms=self.limits.age // timedelta(milliseconds=1),
            ahead_ms=self.limits.ahead // timedelta(milliseconds=1),
            unembedded=self.limits.unembedded,
            **({"tenant": tenant} if tenant is not None else {}),
        )

    async def _read(self, channel: Channel, ids: Iterable[str]) -> list[Message]:
        pipeline = self.redis.pipeline(transaction=False)
        asked = list(ids)
        for id in asked:
            pipeline.hgetall(self.keys.message(channel.ref, id))
        rows = await pipeline.execute()
        return [Message.from_hash(id, row, channel) for id, row in zip(asked, rows, strict=True) if row]

    async def _walk(
        self, ref: ChannelRef, after: Place | None, limit: int, *, descending: bool
    ) -> list[Message]:
        channel = await self.channels.find(ref)
        found: list[Message] = []
        index = walk_index(self.redis, self.keys.messages(ref), after, descending=descending)
        async with aclosing(index) as entries:
            while channel and len(found) < limit:
                ids = [id for _, id in await take(entries, min(limit, LARGEST_READ))]
                if not ids:
                    break
                found += [each for each in await self._read(channel, ids) if not each.deleted]
        return found[:limit]


def _dry(dry_run: bool) -> dict[str, bool]:
    return {"dry": True} if dry_run else {}
