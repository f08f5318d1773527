"""Listing schedules by when they are due."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from nightshift.errors import BadQuery
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import from_ms
from nightshift.schedules.schedule import Schedule
from nightshift.store import LARGEST_READ, take, walk_index

#: One page looks at no more schedules than this, however few are wanted.
LOOK_THROUGH = 10_000


@dataclass(frozen=True)
class ScheduleView:
    """A schedule, and when it is due next."""

    id: str
    cadence: str
    task: str
    queue: str
    tenant: str
    agent: str
    next: datetime


@dataclass(frozen=True)
class Due:
    """Where a listing stands: the last schedule that it has looked at."""

    score: float
    id: str

    def __str__(self) -> str:
        return f"{self.score:.0f}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        score, _, id = text.partition(":")
        if not re.fullmatch(r"[0-9]{1,16}", score) or not id:
            raise BadQuery(f"{text!r} is no place in a list of schedules; take the `next` of the page before")
        return cls(float(score), id)


@dataclass(frozen=True)
class Page:
    """Some schedules, and where the next page begins; nothing there if there is none."""

    schedules: Sequence[ScheduleView]
    next: Due | None


async def read_schedules(
    ledger: Ledger, *, limit: int, after: Due | None = None, tenant: str | None = None
) -> Page:
    """List schedules, those due soonest first; a page of one tenant's may be short and still have a next."""
    found: list[ScheduleView] = []
    last = (after.score, after.id) if after else None
    looked = 0
    async with aclosing(walk_index(ledger.redis, ledger.keys.due, last)) as entries:
        while batch := await take(entries, min(LARGEST_READ, LOOK_THROUGH - looked)):
            pipeline = ledger.redis.pipeline(transaction=False)
            for _, id in batch:
                pipeline.hgetall(ledger.keys.schedule(id))
            for (score, id), row in zip(batch, await pipeline.execute(), strict=True):
                if row and tenant in (None, row["tenant"]):
                    if len(found) == limit:
                        return Page(found, after)
                    found.append(_view(Schedule.from_row(row), from_ms(score)))
                after = Due(score, id)
            looked += len(batch)
        more = await anext(entries, None)
    return Page(found, after if more else None)


def _view(schedule: Schedule, next: datetime) -> ScheduleView:
    return ScheduleView(
        id=schedule.id,
        cadence=schedule.cadence.describe(),
        task=schedule.task,
        queue=schedule.queue,
        tenant=schedule.tenant,
        agent=schedule.agent,
        next=next,
    )
