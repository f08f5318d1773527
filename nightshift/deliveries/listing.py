"""Listing deliveries by index, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nightshift.base.refs import ChannelRef
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.store.pages import Page, Place, read_page, walk


@dataclass(frozen=True)
class WantedDeliveries:
    """Which deliveries; what is left unset does not matter."""

    states: Collection[DeliveryState] = tuple(DeliveryState)
    channel: ChannelRef | None = None
    tenant: str | None = None

    def has(self, delivery: Delivery) -> bool:
        return delivery.state in self.states and self.tenant in (None, delivery.tenant)


async def read_deliveries(
    deliveries: Deliveries, wanted: WantedDeliveries, *, limit: int, after: Place | None = None
) -> Page[Delivery, Place]:
    """List deliveries, newest first: by their last change, or by when they were requested in one channel."""
    keys = deliveries.keys
    indexes = (
        [keys.deliveries_to(str(wanted.channel))]
        if wanted.channel
        else [keys.deliveries(state) for state in wanted.states]
    )

    async def read(ids: Sequence[str]) -> dict[str, Delivery]:
        return {row.id: row for row in await deliveries.explained(await deliveries.rows(ids))}

    entries = walk(deliveries.redis, indexes, after, descending=True)
    return await read_page(entries, read, wanted.has, limit=limit, after=after)
