"""What the day will have cost at its end, as far as anybody can tell now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import batched

from nightshift.money.costs import NOTHING, Book
from nightshift.money.payer import Level
from nightshift.money.purse import mean_cost
from nightshift.runs.ledger import Ledger
from nightshift.time.cadence import cadence_from

DAY = timedelta(days=1)
#: So early in a day, its own pace says little.
LEAST_ELAPSED = timedelta(hours=1)
JOB = f"{Level.JOB}:"


@dataclass(frozen=True)
class Forecast:
    """
    What the day will cost: spent, and what is still to come.

    Slots that jobs and schedules have until midnight UTC cost what their last runs did. Whatever else was
    spent, such as on heartbeats and people, goes on at the pace of today and yesterday.
    """

    #: All in micro-USD.
    total: int
    spent: int
    slots: int
    pace: int


async def read_forecast(ledger: Ledger, now: datetime, today: Book, yesterday: Book) -> Forecast:
    """Reckon from what was spent today and yesterday."""
    began = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    left = began + DAY - now
    paying = sorted({name for book in (today, yesterday) for level, name in book if level is Level.SOURCE})
    coming = await _cost_of_slots(ledger, paying, now, began + DAY)
    planned = sum(_cost(book, Level.SOURCE, source) for book in (today, yesterday) for source in coming)
    spent = _cost(today, Level.DAY)
    unplanned = spent + _cost(yesterday, Level.DAY) - planned
    elapsed = now - began + DAY if yesterday else max(now - began, LEAST_ELAPSED)
    slots, pace = sum(coming.values()), round(unplanned * (left / elapsed))
    return Forecast(spent + slots + pace, spent, slots, pace)


async def _cost_of_slots(
    ledger: Ledger, sources: list[str], now: datetime, until: datetime
) -> dict[str, int]:
    """What the slots until then will cost of each source that has any announced."""
    keys = ledger.keys
    asked = ledger.redis.pipeline(transaction=False)
    for source in sources:
        if source.startswith(JOB):
            row, index = f"{keys.beat_prefix}{source.removeprefix(JOB)}", keys.beat_index
            asked.hget(row, "cadence")
            asked.zscore(index, row)
        else:
            asked.hget(keys.schedule(source), "cadence")
            asked.zscore(keys.due, source)
        asked.lrange(keys.costs_of_runs(source), 0, -1)
    answers = batched(await asked.execute(), 3)
    found = {}
    for source, (cadence, announced, last) in zip(sources, answers, strict=True):
        if cadence and announced is not None:
            slots = cadence_from(json.loads(cadence)).count(now, until - timedelta.resolution)
            found[source] = slots * (mean_cost(last) or 0)
    return found


def _cost(book: Book, level: Level, name: str = "") -> int:
    return book.get((level, name), NOTHING).cost
