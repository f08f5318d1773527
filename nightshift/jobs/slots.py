"""Which slot of a job comes next, and the run it becomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from nightshift.base.errors import BadSchedule
from nightshift.jobs.row import Job
from nightshift.runs.row import RunRequest, run_id
from nightshift.time.cadence import Cadence, Every, cadence_from
from nightshift.time.jitter import start_delay

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Announced:
    """The slot that is announced next, on the grid it lies on."""

    cadence: Cadence
    next: datetime
    #: Whether this differs from what is stored.
    changed: bool


def announce(job: Job, stored: str | None, score: float | None, now: datetime) -> Announced:
    """
    Find the job's grid and its next slot, from what is stored of it.

    The grid is laid once, ``first_run_after`` from when the job was first seen, and survives restarts. A
    job that was off goes on at its next slot. A new cadence starts like a new job, though no later than
    the slot already announced; so does a row that cannot be read any more.
    """
    before = _read(stored)
    announced = _slot(score)
    if before is not None and before == _like(job.when, before):
        # A clock that was ahead for a while may have announced a slot too far off.
        if announced is None or (isinstance(before, Every) and announced > before.slot_after(now)):
            return Announced(before, before.slot_after(now), changed=True)
        return Announced(before, announced, changed=False)
    first = (now + job.first_run_after).replace(microsecond=0) + timedelta(seconds=1)
    if announced is not None:
        first = announced if before is None else min(first, announced)
    cadence = job.when.anchored(first)
    return Announced(cadence, cadence.slot_after(first - INSTANT), changed=True)


def _slot(score: float | None) -> datetime | None:
    """The instant of this place in RedBeat's index, unless it cannot be one."""
    try:
        return datetime.fromtimestamp(score, UTC) if score is not None and score >= 0 else None
    except (OverflowError, ValueError):
        return None


def _read(stored: str | None) -> Cadence | None:
    try:
        return cadence_from(json.loads(stored)) if stored else None
    except (ValueError, TypeError, BadSchedule):
        return None


def _like(wanted: Cadence, before: Cadence) -> Cadence:
    """The wanted cadence on the grid there is."""
    return wanted.anchored(before.anchor) if isinstance(before, Every) else wanted


def request(job: Job, slot: datetime) -> RunRequest:
    """The run one slot of this job becomes."""
    return RunRequest(
        id=run_id(job.source, slot),
        source=job.source,
        nominal=slot,
        task=job.task.name,
        queue=job.queue,
        ready=slot + start_delay(job.when, job.source, job.jitter),
        lane=job.source,
        overlap=job.overlap,
        deadline=job.deadline,
        cause="its slot came",
    )
