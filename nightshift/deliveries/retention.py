"""How long deliveries are kept, and when a bot has had its time."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime, timedelta

from nightshift.base.errors import NotPossible
from nightshift.base.instants import to_ms
from nightshift.deliveries.deliveries import FAILED, REQUESTED, SENT, SUPPRESSED, UNKNOWN, Deliveries
from nightshift.deliveries.delivery import Delivery
from nightshift.store.client import walk_index

#: What its bot does not send by then is no longer worth saying.
BOT_PATIENCE = timedelta(days=1)
BATCH = 500


async def forget_old_deliveries(
    deliveries: Deliveries, *, now: datetime, done: timedelta, failed: timedelta
) -> int:
    """
    Drop deliveries as old as the runs that are dropped; those that are still to be sent, never.

    Safe to run twice: what is gone is gone.
    """
    dropped = 0
    keep = {SENT: done, SUPPRESSED: done, FAILED: failed, UNKNOWN: failed}
    for state, age in keep.items():
        while gone := await deliveries.drop(state, before=now - age, limit=BATCH):
            dropped += gone
    return dropped


async def give_up_on_bots(deliveries: Deliveries, *, now: datetime) -> int:
    """End what a bot has had a day to send: as failed, or unknown if it took it. Safe to run twice."""
    ended = 0
    index = deliveries.keys.deliveries(REQUESTED)
    async with aclosing(walk_index(deliveries.redis, index, None)) as oldest:
        async for since, id in oldest:
            if since > to_ms(now - BOT_PATIENCE):
                break
            delivery = await deliveries.find(id)
            if delivery and delivery.by == "bot":
                ended += await _give_up(deliveries, delivery)
    return ended


async def _give_up(deliveries: Deliveries, delivery: Delivery) -> bool:
    try:
        if delivery.offers:
            await deliveries.unknown(delivery.id, "its bot took it and never said what became of it")
        else:
            await deliveries.failed(delivery.id, "its bot did not come for it within a day")
    except NotPossible:  # it came just now
        return False
    return True
