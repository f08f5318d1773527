"""Recording what schedules have come to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import structlog

from nightshift.base.errors import NightshiftError
from nightshift.base.instants import from_ms, to_ms
from nightshift.runs.ledger import Advance, DueSchedule, Ledger
from nightshift.runs.recordings import Recording, recordings
from nightshift.runs.row import RunRequest, run_id
from nightshift.schedules.schedule import Schedule
from nightshift.time.misfire import catch_up, grace

log = structlog.get_logger("nightshift.schedules")


async def record_due(ledger: Ledger, due: Sequence[DueSchedule], *, now: datetime) -> None:
    """Record the slots these schedules have come to, and move each to its next."""
    found: list[Recording] = []
    for each in due:
        try:
            found += _recordings(ledger, each, now)
        except (NightshiftError, ValueError, KeyError, TypeError) as error:
            await _quarantine(ledger, each, error)
    await ledger.record_many(found)


def _recordings(ledger: Ledger, due: DueSchedule, now: datetime) -> list[Recording]:
    schedule = Schedule.from_row(due.row)
    plan = catch_up(schedule.cadence, from_ms(due.score), now, schedule.late, grace(schedule.cadence))
    advance = Advance(
        index=ledger.keys.due,
        member=due.id,
        expected=due.score,
        next=to_ms(plan.next),
        row=ledger.keys.schedule(due.id),
    )
    return recordings(schedule.id, plan, advance, partial(_request, schedule))


def _request(schedule: Schedule, slot: datetime) -> RunRequest:
    return RunRequest(
        id=run_id(schedule.id, slot),
        source=schedule.id,
        nominal=slot,
        task=schedule.task,
        queue=schedule.queue,
        lane=schedule.id,
        overlap=schedule.overlap,
        deadline=schedule.deadline,
        payload=schedule.payload,
        tenant=schedule.tenant,
        agent=schedule.agent,
        cause="its time came",
    )


async def _quarantine(ledger: Ledger, due: DueSchedule, error: Exception) -> None:
    """Take a schedule that cannot be read out of the index, so that the others go on."""
    log.error("schedule_quarantined", schedule=due.id, error=f"{type(error).__name__}: {error}")
    pipeline = ledger.redis.pipeline(transaction=True)
    pipeline.zrem(ledger.keys.due, due.id)
    pipeline.hset(ledger.keys.schedule(due.id), "quarantined", f"{type(error).__name__}: {error}")
    await pipeline.execute()
