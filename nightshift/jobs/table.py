"""
The job table as it applies here: each row on or off with its reason, overrides laid over it.

Beat resolves and stores it; CLI, console and API read what beat stored.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from redis.asyncio import Redis

from nightshift.base.errors import BadSchedule, BadSetting, UnknownJob
from nightshift.controls.switches import SwitchBoard
from nightshift.jobs.row import Job, Need, source_of
from nightshift.jobs.settings import JobOverride
from nightshift.store.client import text_field, text_hash, text_list
from nightshift.store.keys import Keys
from nightshift.time.cadence import Cron, Every
from nightshift.time.misfire import Misfire

ENTRY_POINTS = "nightshift.jobs"


@dataclass(frozen=True)
class JobStatus:
    """One row as it applies now."""

    name: str
    on: bool
    why: str
    task: str = ""
    queue: str = ""
    cadence: str = ""
    deadline_s: float = 0
    recorded: bool = True
    #: Off because it cannot be kept as it stands, rather than because somebody wants it off.
    broken: bool = False


@dataclass(frozen=True)
class Rows:
    """The rows with everything laid over them, and what cannot be kept, by name, with the reason."""

    jobs: Mapping[str, Job]
    broken: Mapping[str, str]
    overrides: Mapping[str, JobOverride]

    def statuses(self, missing: Mapping[Need, str], board: SwitchBoard) -> list[JobStatus]:
        """Each row, on or off and why; also those that never became one."""
        rows = [self._status(job, missing, board) for job in self.jobs.values()]
        return rows + [
            JobStatus(name, False, why, broken=True)
            for name, why in self.broken.items()
            if name not in self.jobs
        ]

    def _status(self, job: Job, missing: Mapping[Need, str], board: SwitchBoard) -> JobStatus:
        why = (
            self.broken.get(job.name)
            or self._turned_off(job.name)
            or _paused(job.name, board)
            or next((f"needs {need}: {missing[need]}" for need in job.needs if need in missing), "")
            or _switched_off(job, board)
        )
        return JobStatus(
            name=job.name,
            on=not why,
            why=why,
            task=job.task.name,
            queue=job.queue,
            cadence=job.when.describe(),
            deadline_s=job.deadline.total_seconds(),
            recorded=job.recorded,
            broken=job.name in self.broken,
        )

    def _turned_off(self, name: str) -> str:
        override = self.overrides.get(name)
        return f"nightshift.toml says [jobs.{name}] on = false" if override and override.on is False else ""


def _paused(name: str, board: SwitchBoard) -> str:
    return f"paused by {board.paused[name]}; `nightshift jobs resume {name}`" if name in board.paused else ""


def _switched_off(job: Job, board: SwitchBoard) -> str:
    switch = job.only_if.switch
    return f"switch {switch} is off" if switch and not board.is_on(switch) else ""


def resolve(rows: Iterable[Job], overrides: Mapping[str, JobOverride]) -> Rows:
    """
    The table as it applies here: the rows, those of installed packages, and nightshift.toml over both.

    A package that fails, or an override that cannot be kept, costs its own rows and no others.
    """
    jobs: dict[str, Job] = {}
    broken: dict[str, str] = {}
    for job in rows:
        _add(job, jobs)
    for point in entry_points(group=ENTRY_POINTS):
        try:
            brought = dict(jobs)
            for job in _brought_by(point):
                _add(job, brought)
        except Exception as error:
            broken[f"entry point {point.name}"] = (
                f"{point.value} cannot be used ({type(error).__name__}: {error}); mend or remove its package"
            )
        else:
            jobs = brought
    some_failed = bool(broken)
    for name, override in overrides.items():
        try:
            jobs[name] = _overridden(jobs[name], override)
        except KeyError:
            unknown = f"[jobs.{name}] in nightshift.toml names no job; {_nearest(name, jobs)}"
            if not some_failed:
                raise BadSetting(unknown) from None
            broken[name] = unknown
        except (BadSchedule, OverflowError) as error:
            broken[name] = f"[jobs.{name}] in nightshift.toml cannot be kept: {error}"
    return Rows(jobs, broken, overrides)


def _add(job: Job, jobs: dict[str, Job]) -> None:
    if job.name in jobs:
        raise BadSetting(f"job {job.name!r} stands in the table twice; rename one of them")
    jobs[job.name] = job


def _brought_by(point: EntryPoint) -> list[Job]:
    brought = point.load()
    rows = [brought] if isinstance(brought, Job) else list(brought)
    for row in rows:
        if not isinstance(row, Job):
            raise BadSetting(f"{row!r} is no Job; name a nightshift.jobs.row.Job or a sequence of them")
    return rows


def _nearest(name: str, jobs: Mapping[str, Job]) -> str:
    close = difflib.get_close_matches(name, jobs, n=1)
    return f"did you mean [jobs.{close[0]}]?" if close else f"there are {', '.join(sorted(jobs))}"


def _overridden(job: Job, override: JobOverride) -> Job:
    if override.every is not None and override.cron is not None:
        raise BadSchedule("it gives both 'every' and 'cron'; keep one")
    if override.every is not None:
        job = replace(job, when=Every(timedelta(seconds=override.every)))
    if override.cron is not None:
        job = replace(job, when=Cron(override.cron, override.zone))
    if override.first_run_after is not None:
        job = replace(job, first_run_after=timedelta(seconds=override.first_run_after))
    if override.late is not None:
        job = replace(job, late=Misfire(override.late))
    return job


def store_table(changes: Any, keys: Keys, table: Iterable[JobStatus]) -> None:
    """Replace the stored table by this one, together with the other changes of this pipeline."""
    changes.delete(keys.jobs, keys.job_names)
    for row in table:
        changes.hset(keys.jobs, row.name, json.dumps(row.__dict__))
        changes.zadd(keys.job_names, {row.name: 0})
        # A run that ends leaves its mark on its source's row, if there is one.
        changes.hset(keys.schedule(source_of(row.name)), "id", source_of(row.name))


async def read_table(redis: Redis, keys: Keys) -> list[JobStatus]:
    """The table as beat last stored it, by name; empty before beat's first shift."""
    stored = await text_hash(redis, keys.jobs)
    return sorted((JobStatus(**json.loads(row)) for row in stored.values()), key=lambda row: row.name)


async def read_job(redis: Redis, keys: Keys, name: str) -> JobStatus:
    row = await text_field(redis, keys.jobs, name)
    if row is None:
        known = await text_list(redis.zrange(keys.job_names, 0, -1))
        close = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known[:20])}"
        raise UnknownJob(
            f"no job is called {name!r}; {remedy if known else 'there are none: is beat running?'}"
        )
    return JobStatus(**json.loads(row))
