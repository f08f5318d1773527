"""What shadow kept back on one day, and what the day cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import SHADOW
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.runs.ledger import Ledger
from nightshift.store.client import LARGEST_READ, take, walk_index

DAY = timedelta(days=1)
#: Deliveries that are told in full; of more, how many there were.
TOLD = 200


@dataclass(frozen=True)
class ShadowReport:
    """What would have been said on a day (UTC) to whom, and what all work of that day cost."""

    day: date
    #: How often something would have been said, by channel.
    by_channel: Mapping[ChannelRef, int]
    cost: int
    #: The first of them, oldest first.
    said: Sequence[Delivery]

    @property
    def times(self) -> int:
        return sum(self.by_channel.values())

    @property
    def facts(self) -> dict[str, Any]:
        """The report in numbers, without a word of what would have been said."""
        return {
            "day": str(self.day),
            "would_have_said": self.times,
            "channels": len(self.by_channel),
            "spent_micro_usd": self.cost,
        }


async def read_report(deliveries: Deliveries, ledger: Ledger, day: date) -> ShadowReport:
    """Look up what was suppressed that day, and what ended runs cost."""
    begin = datetime.combine(day, time(), UTC)
    channels: Counter[ChannelRef] = Counter()
    said: list[Delivery] = []
    index = deliveries.keys.deliveries(DeliveryState.SUPPRESSED)
    async with aclosing(walk_index(deliveries.redis, index, (to_ms(begin) - 1, "\x7f"))) as entries:
        while batch := await take(entries, LARGEST_READ):
            ids = [id for at, id in batch if at < to_ms(begin + DAY)]
            kept_back = [row for row in await deliveries.rows(ids) if row.reason == SHADOW]
            channels.update(row.channel for row in kept_back)
            said += kept_back[: TOLD - len(said)]
            if len(ids) < len(batch):
                break
    spent = sum(value for (_, kind), value in (await ledger.tally(day)).items() if kind == "cost")
    return ShadowReport(day, dict(channels.most_common()), spent, said)
