"""Jobs as people see them: on or off and why, what each did last and does next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightshift.base.instants import from_ms
from nightshift.jobs.row import source_of
from nightshift.jobs.table import JobStatus, read_job
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import State
from nightshift.store.client import store_now, text_list
from nightshift.store.keys import Keys

LAST = ("last_run", "last_state", "last_ended", "last_reason")


@dataclass(frozen=True)
class LastRun:
    """The run of a job that is open, or else the one that ended last."""

    run: str
    state: State
    ended: datetime | None
    reason: str


@dataclass(frozen=True)
class JobView:
    """One job: whether it is on, what it did last and does next."""

    name: str
    on: bool
    why: str
    queue: str
    cadence: str
    last: LastRun | None
    next: datetime | None
    #: In micro-USD, since midnight UTC.
    cost_today: int


async def read_jobs(ledger: Ledger, *, after: str = "", limit: int | None = None) -> list[JobView]:
    """The jobs of the table that beat stored, by name, those past this name."""
    redis, keys = ledger.redis, ledger.keys
    start = f"({after}" if after else "-"
    page = {"offset": 0, "num": limit} if limit is not None else {}
    names = await text_list(redis.zrange(keys.job_names, start, "+", bylex=True, **page))  # type: ignore[arg-type]
    stored = await redis.hmget(keys.jobs, names) if names else []
    return await _views(ledger, [JobStatus(**json.loads(row)) for row in stored if row])


async def view_job(ledger: Ledger, name: str) -> JobView:
    (view,) = await _views(ledger, [await read_job(ledger.redis, ledger.keys, name)])
    return view


async def next_slot(ledger: Ledger, job: str) -> datetime | None:
    """The slot beat has announced for this job; none while it is off."""
    score = await ledger.redis.zscore(*_announcement(ledger.keys, job))
    return _instant(score)


async def _views(ledger: Ledger, jobs: Sequence[JobStatus]) -> list[JobView]:
    """What the ledger knows of these jobs, in two round trips however many they are."""
    now = await store_now(ledger.redis)
    asked = ledger.redis.pipeline(transaction=False)
    for job in jobs:
        source = source_of(job.name)
        asked.hget(ledger.keys.lane(source), "holder")
        asked.hmget(ledger.keys.schedule(source), LAST)
        asked.zscore(*_announcement(ledger.keys, job.name))
        asked.hget(ledger.tally_key(now.date()), f"{source}|cost")
    answers: list[Any] = await asked.execute()
    holders = [holder for holder in answers[::4] if holder]
    in_lane = {row.id: row for row in await ledger.rows(holders)}
    views = []
    for job, holder, last, score, cost in zip(
        jobs, answers[::4], answers[1::4], answers[2::4], answers[3::4], strict=True
    ):
        row = in_lane.get(holder)
        views.append(
            JobView(
                name=job.name,
                on=job.on,
                why=job.why,
                queue=job.queue,
                cadence=job.cadence,
                last=LastRun(row.id, row.state, None, row.reason)
                if row and not row.state.ended
                else _last(last),
                next=_instant(score),
                cost_today=int(cost or 0),
            )
        )
    return views


def _last(stored: Sequence[str | None]) -> LastRun | None:
    run, state, ended, reason = stored
    return LastRun(run, State(state), from_ms(ended), reason or "") if run and state and ended else None


def _announcement(keys: Keys, job: str) -> tuple[str, str]:
    return keys.beat_index, f"{keys.beat_prefix}{job}"


def _instant(score: float | str | None) -> datetime | None:
    return None if score is None else datetime.fromtimestamp(float(score), UTC)
