"""A worker's sign of life: its row for status and console, written from the consumer's own loop."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from celery import bootsteps
from redis.exceptions import RedisError

from nightshift import bootstrap
from nightshift.errors import NightshiftError
from nightshift.processes import REPORT_EVERY, leave, report
from workers.coroutines import loop_thread

log = structlog.get_logger("nightshift.worker")


class SignOfLife(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery ships no types
    """Says every few seconds that this worker is there, and goodbye when it stops."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def __init__(self, worker: Any, **_: Any) -> None:
        self._entry: Any = None

    def start(self, worker: Any) -> None:
        self._entry = worker.timer.call_repeatedly(REPORT_EVERY.total_seconds(), self._report, (worker,))
        self._report(worker)

    def stop(self, worker: Any) -> None:
        if self._entry is not None:
            self._entry.cancel()
        gone = asyncio.run_coroutine_threadsafe(_say_goodbye(worker.hostname), loop_thread().loop)
        try:
            gone.result(timeout=2)
        except (TimeoutError, RedisError, NightshiftError) as error:
            log.warning("goodbye_not_said", worker=worker.hostname, error=str(error))

    #: Also when the worker is stopped the hard way.
    terminate = stop

    def _report(self, worker: Any) -> None:
        """From the consumer's loop: a worker whose consumer hangs falls silent."""
        facts = {
            "queues": sorted(queue.name for queue in worker.app.amqp.queues.consume_from.values()),
            "concurrency": worker.concurrency,
            "pool": worker.pool.info if worker.pool else {},
        }
        asyncio.run_coroutine_threadsafe(_say_here(worker.hostname, facts), loop_thread().loop)


async def _say_here(name: str, facts: dict[str, Any]) -> None:
    try:
        await report(bootstrap.state(), bootstrap.keys(), name, "worker", facts)
    except (RedisError, NightshiftError) as error:
        log.warning("sign_of_life_not_given", worker=name, error=str(error))


async def _say_goodbye(name: str) -> None:
    await leave(bootstrap.state(), bootstrap.keys(), name)
