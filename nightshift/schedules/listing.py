"""Listing schedules by when they are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.base.instants import from_ms
from nightshift.runs.ledger import Ledger
from nightshift.schedules.schedule import Schedule
from nightshift.store.pages import Page, Place, read_page, walk


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


async def read_schedules(
    ledger: Ledger, *, limit: int, after: Place | None = None, tenant: str | None = None
) -> Page[ScheduleView, Place]:
    """List schedules, those due soonest first."""

    async def read(ids: Sequence[str]) -> dict[str, ScheduleView]:
        pipeline = ledger.redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hgetall(ledger.keys.schedule(id))
        pipeline.zmscore(ledger.keys.due, list(ids))
        *rows, due = await pipeline.execute()
        return {
            id: _view(Schedule.from_row(row), from_ms(at))
            for id, row, at in zip(ids, rows, due, strict=True)
            if row and at is not None
        }

    def wanted(view: ScheduleView) -> bool:
        return tenant in (None, view.tenant)

    entries = walk(ledger.redis, [ledger.keys.due], after)
    return await read_page(entries, read, wanted, limit=limit, after=after)


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
