"""Why a job is on or off, and what became of one of its slots."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from nightshift.base.words import clock, money, when
from nightshift.jobs.row import source_of
from nightshift.jobs.table import JobStatus, read_job
from nightshift.jobs.view import next_slot
from nightshift.runs.ledger import Ledger, Skip
from nightshift.runs.row import RunRow, run_id
from nightshift.runs.states import State
from nightshift.status.why import Why
from nightshift.store.client import store_now, text_hash
from nightshift.time.cadence import Cadence, cadence_from

UNTIL = "until "


async def why_job(ledger: Ledger, name: str, *, at: datetime | None = None) -> Why:
    """Say whether this job is on, and what became of its slot at this instant; by default, the last one."""
    job = await read_job(ledger.redis, ledger.keys, name)
    now = await store_now(ledger.redis)
    announced = await next_slot(ledger, name)
    says = [f"{name} is on: {job.cadence}." if job.on else f"{name} is off: {job.why}."]
    slot: datetime | None = None
    run: RunRow | None = None
    row = await text_hash(ledger.redis, f"{ledger.keys.beat_prefix}{name}")
    if not job.recorded:
        says.append("It is the pulse's own trigger: it is published, and leaves no runs.")
    elif "cadence" not in row:
        says.append("Beat has not announced a slot of it yet.")
    else:
        cadence = cadence_from(json.loads(row["cadence"]))
        slot, run, answer = await _slot(ledger, job, cadence, at, now)
        says.append(answer)
    if announced:
        says.append(f"Its next slot is {clock(announced)}, {when(announced, now)}.")
    return Why(
        name, says, run=run.id if run else None, state=run.state if run else None, slot=slot, next=announced
    )


async def _slot(
    ledger: Ledger, job: JobStatus, cadence: Cadence, at: datetime | None, now: datetime
) -> tuple[datetime | None, RunRow | None, str]:
    if at and at > now:
        coming = cadence.slot_after(at - timedelta.resolution)
        return coming, None, f"{clock(at)} has not come yet; its first slot from then on is {clock(coming)}."
    slot = cadence.latest_slot(at or now)
    if slot is None:
        return None, None, f"It had no slot {'by ' + clock(at) if at else 'yet'}."
    start = f"Its slot of {clock(slot)}"
    if at and at != slot:
        start = f"No slot of it falls on {clock(at)}; the one before, of {clock(slot)},"
    run = await ledger.find(run_id(source_of(job.name), slot))
    if run:
        how = f"is {run.state}" if not run.state.ended else f"ran and is {run.state}"
        if run.state is State.SKIPPED:
            how = "was skipped by its own run"
        reason = f": {run.reason}" if run.reason else ""
        return slot, run, f"{start} {how}{reason}; it cost {money(run.cost)} (run {run.id})."
    for skip in await ledger.skips(source_of(job.name)):
        if skip.nominal <= slot <= _last_slot(skip):
            return slot, None, f"{start} {_skipped(skip)}."
    return (
        slot,
        None,
        (f"{start} left no run: the job was off then, or beat was away, or its run is no longer kept."),
    )


def _last_slot(skip: Skip) -> datetime:
    if skip.times > 1 and skip.detail.startswith(UNTIL):
        return datetime.fromisoformat(skip.detail.removeprefix(UNTIL))
    return skip.nominal


def _skipped(skip: Skip) -> str:
    if skip.reason == "missed" and skip.times > 1:
        return (
            f"was missed with {skip.times - 1} others from {clock(skip.nominal)} "
            f"to {clock(_last_slot(skip))}, found when beat came back at {clock(skip.at)}"
        )
    if skip.reason == "missed":
        return f"was missed: beat came to it only at {clock(skip.at)}"
    return f"was skipped by the rule {skip.reason}: {skip.detail}"
