"""
RedBeat, made safe: slots on a grid, recorded and advanced in one script, by whoever holds the lease.

What RedBeat gives is kept: its rows, its index, its lock. What it would publish is recorded in the
ledger instead, so that no broker is needed for a slot to count; only the pulse's own trigger is published.
Rows are written in transactions that the lease guards, and a slot is a compare-and-set on the one last
announced: a beat that only believes it leads changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread
from typing import Any

import structlog
from celery import schedules
from redbeat.decoder import RedBeatJSONEncoder
from redbeat.schedulers import RedBeatScheduler
from redis.exceptions import LockError, LockNotOwnedError, RedisError, ResponseError

import beat_schedule
from nightshift.base.errors import NightshiftError, StoreFull, StoreUnreachable, UnknownJob
from nightshift.deployment import Deployment, liveness, process_settings
from nightshift.jobs.needs import missing_needs
from nightshift.jobs.row import Job, source_of
from nightshift.jobs.slots import announce, request
from nightshift.jobs.table import JobStatus, Rows, resolve, store_table
from nightshift.machine import servers
from nightshift.processes.signs_of_life import REPORT_EVERY, leave, report
from nightshift.runs.ledger import Advance
from nightshift.runs.recordings import recordings
from nightshift.store.client import AWAY, store_now
from nightshift.store.events import publish_event
from nightshift.store.ground import Patience
from nightshift.time.cadence import Cadence
from nightshift.time.misfire import catch_up, grace

log = structlog.get_logger("nightshift.beat")

#: A tick is short, so that the lease is kept, and a graph that is away only turns rows off.
PATIENCE = Patience(retries=1, timeout=timedelta(seconds=3))
GRAPH_PATIENCE = Patience(retries=0, timeout=timedelta(seconds=1))
#: A standby asks for the lease this often; a leader looks at least as often as RedBeat is told to.
STANDBY = timedelta(seconds=1)
#: How often the leader looks at switches and needs; with a loop's pause, a flip shows within five seconds.
LOOK_EVERY = timedelta(seconds=2)
#: How often rows are written anew though nothing has changed, in case somebody else damaged them.
REPAIR_EVERY = timedelta(minutes=1)
#: How long a row that cannot be handled is left alone.
QUARANTINE = timedelta(minutes=1)
#: The pulse's trigger means nothing once the next one is out.
TRIGGER_EXPIRES = timedelta(seconds=10)
#: How long giving the lease back may take.
GOODBYE = timedelta(seconds=3)
#: Slots recorded before the lease is renewed.
BATCH = 500
#: What is wrong with the store rather than with the row that was asked for.
STORE_TROUBLE = (OSError, *AWAY, StoreUnreachable, StoreFull)


class Scheduler(RedBeatScheduler):  # type: ignore[misc]  # RedBeat ships no types
    """RedBeat's scheduler with a fenced tick."""

    def __init__(self, app: Any, **options: Any) -> None:
        super().__init__(app, **options)
        # RedBeat's own handler would wait for the lock without end; the tick takes it instead.
        self.lock_key = None
        self.name = f"beat@{socket.gethostname()}:{os.getpid()}"
        self._here = Deployment(process_settings(), PATIENCE)
        self._liveness = liveness(self._here.settings, f"beat@{socket.gethostname()}")
        self._liveness.begin()
        self.rows: Rows = resolve(beat_schedule.JOBS, self._here.settings.jobs)
        self._runner = asyncio.Runner()
        self._ticking = self._closed = False
        self._store: Any = self._here.state
        graph = servers.graph_url(self._here.settings)
        self._graph = self._here.client(graph, GRAPH_PATIENCE) if graph else None
        self._ledger = self._here.runs.ledger
        self._switches = self._here.controls.switches
        conf = app.redbeat_conf
        self._index: str = conf.schedule_key
        self._lease = self._store.lock(conf.lock_key, timeout=self.lock_timeout, thread_local=False)
        self._leads = False
        self._trouble = ""
        self._done: dict[str, float] = {}
        self._table: list[JobStatus] = []
        #: The rows that are on, by RedBeat's key.
        self._on: dict[str, tuple[Job, Cadence]] = {}
        self._quarantined: dict[str, tuple[float, str]] = {}
        self._trigger: Thread | None = None

    def setup_schedule(self) -> None:
        """Write nothing yet: only the lease's holder touches rows."""

    def tick(self, *_: Any, **__: Any) -> float:
        """Hold the lease, record what has come due, and say how long to sleep."""
        self._liveness.touch()
        try:
            self._ticking = True
            return self._runner.run(self._tick())
        finally:
            self._ticking = False

    async def _tick(self) -> float:
        try:
            # Whoever needs longer than the lease has lost it.
            async with asyncio.timeout(self.lock_timeout):
                leads = await self._holds_lease()
                if self._is_time("report", REPORT_EVERY):
                    await report(self._store, self._here.keys, self.name, "beat", {"leads": leads})
                if not leads:
                    return STANDBY.total_seconds()
                now = await store_now(self._store)
                if self._is_time("look", LOOK_EVERY):
                    await self._install(now)
                return await self._record_due(now)
        except TimeoutError:
            self._step_down(f"a tick took longer than the lease, {self.lock_timeout} s")
        except (RedisError, NightshiftError, OSError) as error:
            # Whatever is wrong with the store, the lease may have passed on meanwhile.
            self._step_down(f"{type(error).__name__}: {error}")
        return STANDBY.total_seconds()

    # The lease

    async def _holds_lease(self) -> bool:
        try:
            await self._lease.extend(self.lock_timeout, replace_ttl=True)
        except LockError as error:  # it was never ours, or is no longer
            if self._leads:
                self._step_down(str(error))
            if not await self._lease.acquire(blocking=False):
                return False
        if not self._leads:
            log.info("beat_leads", beat=self.name)
            await publish_event(self._store, self._here.keys, "beat_leads", self.name)
            self._done.clear()
        self._leads, self._trouble = True, ""
        return True

    def _step_down(self, why: str) -> None:
        if self._leads or why != self._trouble:
            log.warning("beat_stepped_down" if self._leads else "beat_cannot_lead", beat=self.name, why=why)
        self._leads, self._trouble = False, why
        self._table = []
        for memory in (self._done, self._on, self._quarantined):
            memory.clear()

    @asynccontextmanager
    async def _as_leader(self) -> AsyncIterator[Any]:
        """Collect changes that are made together, and only if the lease is still ours then."""
        async with self._store.pipeline() as changes:
            await changes.watch(self._lease.name)
            if not await self._lease.owned():
                raise LockNotOwnedError("the lease has passed on")
            changes.multi()
            yield changes
            await changes.execute()

    # Rows

    async def _install(self, now: datetime) -> None:
        """Bring RedBeat's rows in line with the table: new ones in, those that are off out."""
        table = await self._look_at_table()
        repair = self._is_time("repair", REPAIR_EVERY)
        if table == self._table and not repair:
            return
        wanted = {self._row_key(row.name): self.rows.jobs[row.name] for row in table if row.on}
        scores = dict(await self._store.zrange(self._index, 0, -1, withscores=True))
        self._on = {}
        async with self._as_leader() as changes:
            for (key, job), row in zip(wanted.items(), await self._read_rows(wanted), strict=True):
                try:
                    self._bring_in(changes, key, job, row, scores.get(key), now)
                except Exception as error:
                    self._quarantine(key, error)
            # A row that is off, or has left the table, keeps its grid in case it comes back.
            for key in scores.keys() - self._on.keys():
                changes.zrem(self._index, key)
            store_table(changes, self._here.keys, table)
        for status in table:
            if status not in self._table:
                what = "job_on" if status.on else "job_off"
                log.info(what, job=status.name, why=status.why)
                await publish_event(
                    self._store, self._here.keys, what, source_of(status.name), preview=status.why
                )
        self._table = table

    async def _look_at_table(self) -> list[JobStatus]:
        board = await self._switches.read()
        missing = await missing_needs(self._here.settings, board, self._graph)
        return [self._unless_quarantined(row) for row in self.rows.statuses(missing, board)]

    def _unless_quarantined(self, row: JobStatus) -> JobStatus:
        until, why = self._quarantined.get(self._row_key(row.name), (0.0, ""))
        return replace(row, on=False, why=why, broken=True) if row.on and until > time.monotonic() else row

    async def _read_rows(self, keys: Iterable[str]) -> Any:
        pipeline = self._store.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, "definition", "cadence")
        return await pipeline.execute(raise_on_error=False)

    def _bring_in(
        self, changes: Any, key: str, job: Job, row: Any, score: float | None, now: datetime
    ) -> None:
        if isinstance(row, ResponseError):  # not a row at all
            changes.delete(key)
            row = None, None
        definition, cadence = row
        announced = announce(job, cadence, score, now)
        wanted = json.dumps(_definition(job, announced.cadence), cls=RedBeatJSONEncoder)
        if announced.changed or definition != wanted:
            spec = json.dumps(announced.cadence.to_spec())
            changes.hset(key, mapping={"definition": wanted, "cadence": spec})
            changes.zadd(self._index, {key: announced.next.timestamp()})
        self._on[key] = job, announced.cadence

    def _quarantine(self, key: str, error: Exception) -> None:
        """Leave a row that cannot be handled alone for a while, so that the others go on."""
        why = f"{type(error).__name__}: {error}"
        log.error("row_quarantined", row=key, why=why, exc_info=error)
        until = time.monotonic() + QUARANTINE.total_seconds()
        self._quarantined[key] = until, f"left alone for {QUARANTINE}: {why}"
        self._done.clear()  # the next tick takes it out

    def _row_key(self, name: str) -> str:
        return str(self.Entry.generate_key(self.app, name))

    # Slots

    async def _record_due(self, now: datetime) -> float:
        due = await self._store.zrangebyscore(
            self._index, "-inf", now.timestamp(), start=0, num=BATCH, withscores=True
        )
        for key, score in due:
            try:
                await self._record(key, score, now)
            except STORE_TROUBLE:
                raise
            except Exception as error:
                self._quarantine(key, error)
        nearest = await self._store.zrange(self._index, 0, 0, withscores=True)
        pause = nearest[0][1] - (await store_now(self._store)).timestamp() if nearest else self.max_interval
        return float(min(max(pause, 0.0), self.max_interval))

    async def _record(self, key: str, score: float, now: datetime) -> None:
        if key not in self._on:
            raise UnknownJob(
                "no job that is on has this row; jobs come from beat_schedule.py and from packages"
            )
        job, cadence = self._on[key]
        slot = datetime.fromtimestamp(score, UTC)
        plan = catch_up(cadence, slot, now, job.late, grace(cadence))
        last_run = json.dumps({"last_run_at": plan.run[-1]}, cls=RedBeatJSONEncoder) if plan.run else None
        advance = Advance(
            index=self._index,
            member=key,
            expected=score,
            next=plan.next.timestamp(),
            row=key,
            fields={"meta": last_run} if last_run else {},
        )
        if job.recorded:
            what = recordings(job.source, plan, advance, partial(request, job))
            answers = await self._ledger.record_many(what)
            log.info("slot_recorded", job=job.name, slot=slot.isoformat(), answer=answers[-1])
        elif await self._ledger.record(advance=advance) == "advanced":
            self._publish_trigger(job)

    def _publish_trigger(self, job: Job) -> None:
        """Publish beside the tick: a broker that accepts and never answers must not hold it up."""
        if self._trigger is not None and self._trigger.is_alive():
            why = "the broker has not answered the one before"
            log.warning("trigger_not_published", job=job.name, why=why)
            return
        self._trigger = Thread(target=self._publish, args=(job,), daemon=True, name="trigger")
        self._trigger.start()

    def _publish(self, job: Job) -> None:
        bounded = {"socket_timeout": 3, "socket_connect_timeout": 3}
        try:
            with self.app.connection_for_write(transport_options=bounded) as connection:
                self.app.send_task(
                    job.task.name,
                    queue=job.queue,
                    connection=connection,
                    expires=TRIGGER_EXPIRES.total_seconds(),
                    retry=False,
                )
        except Exception as error:
            log.warning("trigger_not_published", job=job.name, why=f"{type(error).__name__}: {error}")

    # The rest

    def close(self) -> None:
        """Give the lease back, so that a standby need not wait for it to lapse."""
        # A signal may come in the middle of a tick; Celery closes again once that has unwound.
        if not self._ticking and not self._closed:
            self._closed = True
            self._runner.run(self._leave())
            self._runner.close()
            self._liveness.end()
            super().close()

    async def _leave(self) -> None:
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        with suppress(RedisError, NightshiftError, OSError):
            async with asyncio.timeout(GOODBYE.total_seconds()):
                with suppress(LockError):
                    await self._lease.release()
                await leave(self._store, self._here.keys, self.name)
        await self._here.close()

    def _is_time(self, what: str, every: timedelta) -> bool:
        """Whether this was last done so long ago; then it counts as done now."""
        now = time.monotonic()
        if now - self._done.get(what, -math.inf) < every.total_seconds():
            return False
        self._done[what] = now
        return True


def _definition(job: Job, cadence: Cadence) -> dict[str, Any]:
    """The row as RedBeat's own tools read it."""
    return {
        "name": job.name,
        "task": job.task.name,
        "args": None,
        "kwargs": None,
        "options": {"queue": job.queue},
        "schedule": schedules.schedule(cadence.typical_period()),
        "enabled": True,
    }
