"""
A worker's health: the ticker that looks after its resources, its row for status and console, its liveness
file.

The row and the file are written from the consumer's own loop, so that a consumer that hangs falls silent.
The ticker lives on the coroutines' loop, where the resources are used.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from celery import bootsteps
from redis.exceptions import RedisError

from nightshift.base.errors import NightshiftError
from nightshift.base.masking import reason_of
from nightshift.base.words import span, stamp
from nightshift.deployment import close_deployment, deployment
from nightshift.processes.signs_of_life import REPORT_EVERY, leave, report
from workers.coroutines import LoopThread, loop_thread

log = structlog.get_logger("nightshift.worker")

#: Rare enough to cost nothing, often enough that what idles is not kept for long.
TICK_EVERY = timedelta(seconds=30)
#: Of these, so many may pass without a tick: one may take long, because a resource hangs.
MISSED_TICKS = 3
STOP_WITHIN = timedelta(seconds=5)
GOODBYE = timedelta(seconds=2)


class Ticker:
    """Does something every so often on a loop, until it is stopped, and can say whether it still does."""

    def __init__(self, tick: Callable[[], Awaitable[object]], home: LoopThread, every: timedelta) -> None:
        self.ticked: datetime | None = None
        self._tick = tick
        self._home = home
        self._every = every
        self._moved = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._ended = threading.Event()
        self._why = ""

    def start(self) -> None:
        self._home.call(self._begin)

    def stop(self, within: timedelta = STOP_WITHIN) -> None:
        """End it, whatever it is doing, and wait a bounded time. Safe to repeat, and from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and the ticker with it
            self._home.call(self._cancel)
            if not self._home.is_current():
                self._ended.wait(within.total_seconds())

    def problem(self) -> str:
        """Why nobody looks after the resources any more; empty while somebody does."""
        if self._ended.is_set():
            return f"the health ticker ended: {self._why}"
        silent = timedelta(seconds=time.monotonic() - self._moved)
        if silent > self._every * (MISSED_TICKS + 1):
            return f"the health ticker has not ticked for {span(silent)}"
        return ""

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name="health ticker")
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is None:
            self._ended.set()
        else:
            self._task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._why = "it was cancelled" if error is None else reason_of(error)
        self._ended.set()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every.total_seconds())
            await self._tick()
            self._moved = time.monotonic()
            self.ticked = datetime.now(UTC)


class WorkerSignOfLife(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
    """Says every few seconds that this worker is there, and goodbye when it stops."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def __init__(self, worker: Any, **_: Any) -> None:
        self._saying: Future[None] | None = None

    def start(self, worker: Any) -> None:
        self._ticker = Ticker(_look_after_resources, loop_thread(), TICK_EVERY)
        self._ticker.start()
        self._look(worker)
        self._entries = [
            # As soon as the consumer consumes, and from then on.
            worker.timer.call_after(0, self._look, (worker,)),
            worker.timer.call_repeatedly(REPORT_EVERY.total_seconds(), self._look, (worker,)),
        ]

    def stop(self, worker: Any) -> None:
        for entry in self._entries:
            entry.cancel()
        worker.liveness.tell_ready(False)
        self._ticker.stop()
        gone = self._say(_say_goodbye(worker.hostname))
        try:
            gone.result(timeout=GOODBYE.total_seconds())
        except (TimeoutError, RedisError, NightshiftError) as error:
            log.warning("goodbye_not_said", worker=worker.hostname, error=str(error))

    #: Also when the worker is stopped the hard way.
    terminate = stop

    def _look(self, worker: Any) -> None:
        """From the consumer's loop: a worker whose consumer hangs falls silent."""
        why = self._ticker.problem() or ("" if worker.consumer.connection else "no broker is connected")
        worker.liveness.touch()
        worker.liveness.tell_ready(not why)
        facts = {
            "queues": sorted(queue.name for queue in worker.app.amqp.queues.consume_from.values()),
            "concurrency": worker.concurrency,
            "pool": worker.pool.info if worker.pool else {},
            "ready": not why,
            "why": why,
            "ticked": stamp(self._ticker.ticked) if self._ticker.ticked else None,
        }
        self._say(_say_here(worker.hostname, facts))

    def _say(self, words: Coroutine[Any, Any, None]) -> Future[None]:
        """Have this said; what was to be said before, and has not been yet, is no longer true."""
        if self._saying is not None:
            self._saying.cancel()
        self._saying = asyncio.run_coroutine_threadsafe(words, loop_thread().loop)
        return self._saying


def close_clients(within: timedelta = STOP_WITHIN) -> None:
    """Close what the tasks used, once there are none."""
    closing = asyncio.run_coroutine_threadsafe(close_deployment(), loop_thread().loop)
    try:
        closing.result(within.total_seconds())
    except (TimeoutError, RedisError) as error:
        log.warning("clients_not_closed", error=str(error))


async def _look_after_resources() -> None:
    await deployment().resources.look_after()


async def _say_here(name: str, facts: dict[str, Any]) -> None:
    try:
        told = facts | {"parts": deployment().resources.report()}
        await report(deployment().state, deployment().keys, name, "worker", told)
    except (RedisError, NightshiftError) as error:
        log.warning("sign_of_life_not_given", worker=name, error=str(error))


async def _say_goodbye(name: str) -> None:
    await leave(deployment().state, deployment().keys, name)
