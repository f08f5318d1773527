"""Running a job by hand, beside its slots."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from nightshift.errors import NotPossible
from nightshift.jobs.row import source_of
from nightshift.jobs.table import JobStatus
from nightshift.runs.row import RunId, RunRequest


def request_by_hand(job: JobStatus, now: datetime, *, by: str) -> RunRequest:
    """A run of this job for right now, which takes no slot's place; in its lane, so that none overlaps it."""
    if not job.recorded:
        raise NotPossible(f"{job.name} is the pulse's own trigger and leaves no runs; beat publishes it")
    if not job.task:
        raise NotPossible(f"{job.name} cannot be run: {job.why}")
    source = source_of(job.name)
    return RunRequest(
        id=RunId(f"{source}@manual-{secrets.token_hex(4)}"),
        source=source,
        nominal=now,
        task=job.task,
        queue=job.queue,
        lane=source,
        deadline=timedelta(seconds=job.deadline_s),
        cause=f"by hand, {by}",
    )
