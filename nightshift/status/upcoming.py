"""What comes next: the slots that beat has announced, and the schedules that are due."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from nightshift.base.instants import from_ms, to_ms
from nightshift.jobs.row import source_of
from nightshift.runs.ledger import Ledger
from nightshift.store.client import take, walk_index


@dataclass(frozen=True, order=True)
class Upcoming:
    """Something that will be recorded as a run."""

    at: datetime
    source: str


async def read_upcoming(ledger: Ledger, *, after: datetime, limit: int) -> Sequence[Upcoming]:
    """The next slots of jobs and schedules, soonest first."""
    prefix = ledger.keys.beat_prefix
    async with (
        aclosing(walk_index(ledger.redis, ledger.keys.beat_index, (after.timestamp(), ""))) as slots,
        aclosing(walk_index(ledger.redis, ledger.keys.due, (to_ms(after), ""))) as due,
    ):
        found = [
            Upcoming(datetime.fromtimestamp(score, UTC), source_of(row.removeprefix(prefix)))
            for score, row in await take(slots, limit)
        ]
        found += [Upcoming(from_ms(score), schedule) for score, schedule in await take(due, limit)]
    return sorted(found)[:limit]
