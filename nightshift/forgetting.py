"""
Forgetting a user or a channel, in every store that may know something of it.

What is forgotten is first kept from coming back, then goes store by store; a receipt says how much of what
went, and holds no text. Safe to repeat, and to be repeated if it was interrupted.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Forgetter, SpokeIn, Subject
from nightshift.store.client import store_now, text_hash
from nightshift.store.events import publish_event
from nightshift.store.keys import Keys


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

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        forgetters: Sequence[Forgetter],
        *,
        spoke_in: Sequence[SpokeIn],
    ) -> None:
        """``forgetters``: asked in this order. ``spoke_in``: whoever knows the channels of a user."""
        self._redis = redis
        self._keys = keys
        self._forgetters = forgetters
        self._spoke_in = spoke_in

    async def preview(self, ref: UserRef | ChannelRef) -> dict[str, int]:
        """How much of it each store has."""
        subject = Subject(ref, await self._channels(ref))
        return {each.name: await each.forget(subject, dry_run=True) for each in self._forgetters}

    async def forget(self, ref: UserRef | ChannelRef, *, by: str) -> Receipt:
        """Forget it everywhere, and keep what there was up to now from coming back."""
        receipt = await self._begin(ref, by)
        subject = Subject(ref, tuple(map(ChannelRef.parse, receipt.channels)))
        for each in self._forgetters:
            gone = receipt.counts.get(each.name, 0) + await each.forget(subject)
            receipt = replace(receipt, counts={**receipt.counts, each.name: gone})
            await self._store(receipt)
        receipt = replace(receipt, finished=await store_now(self._redis), channels=())
        await self._store(receipt)
        facts = {"by": by, "kind": ref.NOUN, **{name: str(n) for name, n in receipt.counts.items()}}
        await publish_event(self._redis, self._keys, "forgotten", f"forget:{receipt.id}", facts=facts)
        return receipt

    async def receipts(self) -> list[Receipt]:
        """What was forgotten so far, the latest first."""
        stored = await text_hash(self._redis, self._keys.receipts)
        found = [Receipt.from_json(*row) for row in stored.items()]
        return sorted(found, key=lambda receipt: receipt.at, reverse=True)

    async def _begin(self, ref: UserRef | ChannelRef, by: str) -> Receipt:
        """The receipt of what is to be done, or that of what was interrupted."""
        named, now = f"{ref.NOUN} {ref}", await store_now(self._redis)
        channels = set(map(str, await self._channels(ref)))
        receipt = Receipt(uuid.uuid4().hex[:12], named, now, by)
        for known in await self.receipts():
            if known.what == named and known.finished is None:
                receipt = replace(known, at=now, by=by)
        receipt = replace(receipt, channels=tuple(sorted(channels | set(receipt.channels))))
        await self._store(receipt)
        return receipt

    async def _channels(self, ref: UserRef | ChannelRef) -> tuple[ChannelRef, ...]:
        if isinstance(ref, ChannelRef):
            return (ref,)
        return tuple(sorted({each for spoke_in in self._spoke_in for each in await spoke_in(ref)}))

    async def _store(self, receipt: Receipt) -> None:
        await self._redis.hset(self._keys.receipts, receipt.id, receipt.to_json())
