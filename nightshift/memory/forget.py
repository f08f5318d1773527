"""
Forgetting a user or a channel, in every store that may know something of it.

What is forgotten is first kept from coming back, then goes store by store; a receipt says how much of what
went, and holds no text. Safe to repeat, and to be repeated if it was interrupted.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol, Self

from redis.asyncio import Redis

from nightshift.channels.ref import ChannelRef, UserRef
from nightshift.events import publish_event
from nightshift.keys import Keys
from nightshift.memory.messages import Messages
from nightshift.runs.forget import forget_in_events, forget_in_runs
from nightshift.runs.ledger import Ledger
from nightshift.store import store_now, text_hash

#: What an id may go on with, as references are written.
MORE = r"[A-Za-z0-9_.~%-]"


@dataclass(frozen=True)
class What:
    """A user, or a channel, and where traces of it may be."""

    subject: UserRef | ChannelRef
    #: The channel itself, or those in which the user has spoken.
    channels: tuple[ChannelRef, ...]

    def mentioned_in(self, texts: Iterable[str]) -> bool:
        """Whether one of these names the subject, or one of its channels."""
        return any(self._names.search(text) for text in texts)

    @cached_property
    def _names(self) -> re.Pattern[str]:
        names = "|".join(re.escape(str(each)) for each in {self.subject, *self.channels})
        return re.compile(f"(?<!{MORE})(?:{names})(?!{MORE})")


class Forgetter(Protocol):
    """One store, and how it forgets."""

    name: str

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        """Forget it, and say how much of it there was; count only, if nothing shall be changed."""


@dataclass(frozen=True)
class Receipt:
    """What was forgotten, when and on whose word, and how much of it each store had."""

    id: str
    what: str
    at: datetime
    by: str
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Unset while it is being done, or if it was interrupted: then it has to be done again.
    finished: datetime | None = None
    #: Where to look, for whoever goes on after an interruption: what was said there may be gone already.
    channels: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(
            {
                "what": self.what,
                "at": self.at.isoformat(),
                "by": self.by,
                "counts": dict(self.counts),
                "finished": self.finished.isoformat() if self.finished else None,
                "channels": self.channels,
            }
        )

    @classmethod
    def from_json(cls, id: str, text: str) -> Self:
        row: dict[str, Any] = json.loads(text)
        at, finished = datetime.fromisoformat(row["at"]), row["finished"]
        return cls(
            id=id,
            what=row["what"],
            at=at,
            by=row["by"],
            counts=row["counts"],
            finished=datetime.fromisoformat(finished) if finished else None,
            channels=tuple(row["channels"]),
        )


class Forgetting:
    """Everything that has to be asked to forget."""

    def __init__(self, redis: Redis, keys: Keys, messages: Messages, others: Sequence[Forgetter]) -> None:
        self._redis = redis
        self._keys = keys
        self._messages = messages
        #: What was said goes first, so that nothing new is made of it while the others forget.
        self._forgetters: Sequence[Forgetter] = (MessageForgetter(messages), *others)

    async def preview(self, subject: UserRef | ChannelRef) -> dict[str, int]:
        """How much of it each store has."""
        what = What(subject, await self._channels(subject))
        return {each.name: await each.forget(what, dry_run=True) for each in self._forgetters}

    async def forget(self, subject: UserRef | ChannelRef, *, by: str) -> Receipt:
        """Forget it everywhere, and keep what there was up to now from coming back."""
        receipt = await self._begin(subject, by)
        what = What(subject, tuple(map(ChannelRef.parse, receipt.channels)))
        for each in self._forgetters:
            gone = receipt.counts.get(each.name, 0) + await each.forget(what)
            receipt = replace(receipt, counts={**receipt.counts, each.name: gone})
            await self._store(receipt)
        receipt = replace(receipt, finished=await store_now(self._redis), channels=())
        await self._store(receipt)
        facts = {"by": by, "kind": subject.NOUN, **{name: str(n) for name, n in receipt.counts.items()}}
        await publish_event(self._redis, self._keys, "forgotten", f"forget:{receipt.id}", facts=facts)
        return receipt

    async def receipts(self) -> list[Receipt]:
        """What was forgotten so far, the latest first."""
        stored = await text_hash(self._redis, self._keys.receipts)
        found = [Receipt.from_json(*row) for row in stored.items()]
        return sorted(found, key=lambda receipt: receipt.at, reverse=True)

    async def _begin(self, subject: UserRef | ChannelRef, by: str) -> Receipt:
        """The receipt of what is to be done, or that of what was interrupted."""
        named, now = f"{subject.NOUN} {subject}", await store_now(self._redis)
        channels = set(map(str, await self._channels(subject)))
        receipt = Receipt(uuid.uuid4().hex[:12], named, now, by)
        for known in await self.receipts():
            if known.what == named and known.finished is None:
                receipt = replace(known, at=now, by=by)
        receipt = replace(receipt, channels=tuple(sorted(channels | set(receipt.channels))))
        await self._store(receipt)
        return receipt

    async def _channels(self, subject: UserRef | ChannelRef) -> tuple[ChannelRef, ...]:
        if isinstance(subject, ChannelRef):
            return (subject,)
        return tuple(await self._messages.channels_of(subject))

    async def _store(self, receipt: Receipt) -> None:
        await self._redis.hset(self._keys.receipts, receipt.id, receipt.to_json())


class MessageForgetter:
    """What was said, and what is known of the channel."""

    name = "messages"

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        if isinstance(what.subject, ChannelRef):
            return await self._messages.forget_channel(what.subject, dry_run=dry_run)
        return await self._messages.forget_user(what.subject, dry_run=dry_run)


class RunForgetter:
    """What runs carry: payloads, checkpoints, results, the details of their stories."""

    name = "runs"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        return await forget_in_runs(self._ledger, what.mentioned_in, dry_run=dry_run)


class EventForgetter:
    """What the stream of events tells."""

    name = "events"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        return await forget_in_events(self._ledger, what.mentioned_in, dry_run=dry_run)
