"""``python -m bench.pulse [--rounds 3] [--only PART] [--json]``."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import psutil
from redis.asyncio import Redis

from bench.rounds import Figures, options, report
from bench.scene import BROKER, Scene, quantile, scene, start_pulse, until_worker_answers
from nightshift.runs.row import RunId, run_id
from nightshift.runs.states import State
from nightshift.schedules.schedule import Schedule, put_schedules
from nightshift.time.cadence import Every

NOTHING = "bench.pulse.app.nothing"
#: Nobody consumes this queue while hints are timed.
UNWATCHED = "io"
#: Seconds in which Redis has rehashed its tables after a bulk load.
SETTLED = 5
DAY = timedelta(days=1)
#: From scheduling to the first slot; the pulse must have begun by then.
LEAD = timedelta(seconds=8)


async def hints_at(rate: int, seconds: int = 10) -> Figures:
    """From nominal time to the hint in the broker, at this many due a second."""
    async with (
        scene() as here,
        here.celery("worker", "-Q", "control", "-n", "bench@%h", app="bench.pulse.app"),
    ):
        await until_worker_answers(here)
        nominal = await _schedule(here, rate, seconds, UNWATCHED)
        await start_pulse(here)
        async with here.client(BROKER) as broker:
            lateness = await _arrivals(broker, nominal)
    return {"p50_ms": quantile(lateness, 0.5), "p99_ms": quantile(lateness, 0.99), "max_ms": max(lateness)}


async def _arrivals(broker: Redis, nominal: dict[str, datetime]) -> list[float]:
    lateness: list[float] = []
    while len(lateness) < len(nominal):
        popped = await broker.blmpop(20, 1, f"ns-broker:{UNWATCHED}", direction="RIGHT", count=100)
        if popped is None:
            raise TimeoutError(f"{len(nominal) - len(lateness)} hints never came")
        now = datetime.now(UTC)
        for message in popped[1]:
            run = json.loads(str(message))["headers"]["id"].rpartition("#")[0]
            lateness.append((now - nominal[run]).total_seconds() * 1000)
    return lateness


async def starts_at(rate: int, seconds: int = 10) -> Figures:
    """From nominal time to the start of the task, at this many due a second."""
    async with scene() as here, here.celery("worker", "-n", "bench@%h", app="bench.pulse.app"):
        await until_worker_answers(here)
        ledger = here.ledger()
        nominal = await _schedule(here, rate, seconds, "agents")
        await start_pulse(here)
        async with asyncio.timeout(seconds + 30):
            while (await ledger.counts())[State.DONE] < len(nominal):
                await asyncio.sleep(0.2)
        rows = await ledger.rows([RunId(name) for name in nominal])
        lateness = [(row.started - row.nominal).total_seconds() * 1000 for row in rows if row.started]
        assert len(lateness) == len(nominal)
    return {"p50_ms": quantile(lateness, 0.5), "p99_ms": quantile(lateness, 0.99), "max_ms": max(lateness)}


async def _schedule(here: Scene, rate: int, seconds: int, queue: str) -> dict[str, datetime]:
    """Schedules whose first slots lie evenly spread over the seconds to come."""
    ledger = here.ledger()
    start = (datetime.now(UTC) + LEAD).replace(microsecond=0)
    gap = timedelta(seconds=1) / rate
    slots = {f"prompt:{n}": start + gap * n for n in range(rate * seconds)}
    schedules = [Schedule(name, Every(DAY, slot), NOTHING, queue) for name, slot in slots.items()]
    for first in range(0, len(schedules), 1000):
        await put_schedules(ledger, schedules[first : first + 1000], now=start - DAY / 2)
    return {run_id(name, slot): slot for name, slot in slots.items()}


async def empty_look(stored: int) -> Figures:
    """One look with nothing due, at this many stored schedules."""
    async with scene("--appendonly", "no") as here:
        ledger = here.ledger()
        far = datetime.now(UTC) + timedelta(days=30)
        for first in range(0, stored, 2000):
            batch = [
                Schedule(f"prompt:{n}", Every(DAY, far + timedelta(milliseconds=n)), NOTHING, "agents")
                for n in range(first, min(first + 2000, stored))
            ]
            await put_schedules(ledger, batch, now=far - DAY)
        await asyncio.sleep(SETTLED)
        await ledger.look("bench")
        took = []
        for _ in range(2000):
            before = time.perf_counter()
            await ledger.look("bench")
            took.append((time.perf_counter() - before) * 1e6)
    return {"median_us": statistics.median(took)}


async def idle(seconds: int = 60) -> Figures:
    """Beat and one worker for all queues, with nothing to do."""
    async with scene() as here, here.celery("worker", "-n", "bench@%h") as worker:
        await until_worker_answers(here)
        async with here.celery("beat", "--pidfile=") as beat, here.client() as client:
            await asyncio.sleep(30)  # the first runs of the jobs are over
            processes = {
                "worker": psutil.Process(worker.pid),
                "beat": psutil.Process(beat.pid),
                "redis": psutil.Process(here.redis_pid),
            }
            commands = (await client.info("stats"))["total_commands_processed"]
            cpu = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
            await asyncio.sleep(seconds)
            after = (await client.info("stats"))["total_commands_processed"]
            figures = {"commands_per_s": (after - commands) / seconds}
            for name, process in processes.items():
                figures[f"{name}_cpu_percent"] = 100 * (sum(process.cpu_times()[:2]) - cpu[name]) / seconds
                figures[f"{name}_rss_mb"] = process.memory_info().rss / 2**20
            figures["cpu_percent"] = sum(v for k, v in figures.items() if k.endswith("_cpu_percent"))
            figures["rss_mb"] = sum(v for k, v in figures.items() if k.endswith("_rss_mb"))
    return figures


PARTS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "hint published, 1,000 due a second": lambda: hints_at(1000),
    "task started, 100 due a second": lambda: starts_at(100),
    "empty look, 1,000 schedules stored": lambda: empty_look(1000),
    "empty look, 1,000,000 schedules stored": lambda: empty_look(1_000_000),
    "idle, profile small": idle,
}


def main() -> None:
    report(options("bench.pulse").parse_args(), PARTS)


if __name__ == "__main__":
    main()
