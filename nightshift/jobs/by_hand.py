"""What people do to a job: run it now, beside its slots; pause it; let it come due again."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from nightshift.base.errors import NotPossible
from nightshift.controls.switches import Switches
from nightshift.jobs.row import source_of
from nightshift.jobs.table import JobStatus, read_job
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunId, RunRequest
from nightshift.store.client import store_now
from nightshift.store.events import publish_event


async def run_job(ledger: Ledger, name: str, *, by: str) -> tuple[RunId, JobStatus]:
    """Record a run of this job for right now, whether it is on or not."""
    job = await read_job(ledger.redis, ledger.keys, name)
    request = request_by_hand(job, await store_now(ledger.redis), by=by)
    await ledger.record(request)
    return request.id, job


async def pause_job(ledger: Ledger, switches: Switches, name: str, *, by: str) -> None:
    """Keep a job from coming due until it is resumed."""
    await read_job(ledger.redis, ledger.keys, name)
    await switches.pause(name, by=by)
    await _tell(ledger, "job_paused", name, by)


async def resume_job(ledger: Ledger, switches: Switches, name: str, *, by: str) -> None:
    """Let a paused job come due again, at its next slot."""
    if name not in (await switches.read()).paused:
        await read_job(ledger.redis, ledger.keys, name)
    await switches.resume(name)
    await _tell(ledger, "job_resumed", name, by)


async def _tell(ledger: Ledger, what: str, job: str, by: str) -> None:
    await publish_event(ledger.redis, ledger.keys, what, source_of(job), facts={"by": by})


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
