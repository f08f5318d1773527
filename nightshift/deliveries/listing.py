"""Listing deliveries by index, newest first, a page at a time."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Self

from nightshift.channels.ref import ChannelRef
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.errors import BadQuery
from nightshift.store import FIRST_READ, LARGEST_READ, take, walk_index

#: One page looks at no more deliveries than this, however few are wanted.
LOOK_THROUGH = 10_000


@dataclass(frozen=True)
class Wanted:
    """Which deliveries; what is left unset does not matter."""

    states: Collection[DeliveryState] = tuple(DeliveryState)
    channel: ChannelRef | None = None
    tenant: str | None = None

    def has(self, delivery: Delivery) -> bool:
        return delivery.state in self.states and self.tenant in (None, delivery.tenant)


@dataclass(frozen=True, order=True)
class Place:
    """Where a listing stands: the last entry that it has looked at."""

    score: float
    id: str

    def __str__(self) -> str:
        return f"{self.score:.0f}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        score, _, id = text.partition(":")
        if not re.fullmatch(r"[0-9]{1,16}", score) or not id:
            raise BadQuery(
                f"{text!r} is no place in a list of deliveries; take the `next` of the page before"
            )
        return cls(float(score), id)


@dataclass(frozen=True)
class Page:
    """Some deliveries, and where the next page begins; nothing there if there is none."""

    deliveries: Sequence[Delivery]
    next: Place | None


async def read_page(
    deliveries: Deliveries, wanted: Wanted, *, limit: int, after: Place | None = None
) -> Page:
    """
    List deliveries, newest first: by their last change, or by when they were requested if a channel is named.

    A page may be short of its limit, even empty, and still have a next: LOOK_THROUGH were looked at. One that
    changes while it is being read is listed once.
    """
    found: dict[str, Delivery] = {}
    looked, size = 0, FIRST_READ
    async with aclosing(_places(deliveries, wanted, after)) as places:
        while batch := await take(places, min(size, LOOK_THROUGH - looked)):
            rows = {row.id: row for row in await deliveries.rows([place.id for place in batch])}
            for place in batch:
                row = rows.get(place.id)
                if row and wanted.has(row) and row.id not in found:
                    if len(found) == limit:
                        return Page(list(found.values()), after)
                    found[row.id] = row
                after = place
            looked, size = looked + len(batch), min(size * 2, LARGEST_READ)
        more = await anext(places, None)
    return Page(list(found.values()), after if more else None)


async def _places(deliveries: Deliveries, wanted: Wanted, after: Place | None) -> AsyncGenerator[Place]:
    keys = deliveries.keys
    names = (
        [keys.deliveries_to(str(wanted.channel))]
        if wanted.channel
        else [keys.deliveries(state) for state in wanted.states]
    )
    last = (after.score, after.id) if after else None
    indexes = [walk_index(deliveries.redis, name, last, descending=True) for name in names]
    heads = [await anext(index, None) for index in indexes]
    while newest := max((head for head in heads if head), default=None):
        yield Place(*newest)
        which = heads.index(newest)
        heads[which] = await anext(indexes[which], None)
