"""What a page costs among many: ``python -m bench.listing [--rounds 3] [--many 100000] [--json]``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from bench.rounds import Figures, options, report
from bench.scene import scene
from nightshift.base.instants import to_ms
from nightshift.jobs.table import JobStatus, store_table
from nightshift.jobs.view import read_jobs
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.search import RunPlace, WantedRuns, read_runs
from nightshift.runs.states import State
from nightshift.schedules.listing import read_schedules
from nightshift.schedules.schedule import Schedule, put_schedules
from nightshift.store.keys import Keys
from nightshift.store.pages import Place
from nightshift.time.cadence import Every

FEW, PAGE, TIMES, BATCH = 1_000, 50, 200, 2_000
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
JOB = JobStatus("job", True, "", "bench.nothing", "io", "every day", 60.0, True)
#: Of these, none may be among the commands of a page: they look at everything that is stored.
LOOKS_AT_EVERYTHING = {"cmdstat_keys", "cmdstat_scan", "cmdstat_hscan", "cmdstat_zscan"}


async def fill(ledger: Ledger, runs: int, others: int) -> None:
    """Runs that ended one after the other, jobs, and schedules due one after the other."""
    example = RunRequest(run_id("example", NOW), "example", NOW, "bench.nothing", "io")
    await ledger.record(example)
    row = (await ledger.get(example.id)).raw
    await ledger.cancel(example.id)
    for first in range(0, runs, BATCH):
        pipeline = ledger.redis.pipeline(transaction=False)
        for number in range(first, min(first + BATCH, runs)):
            ended = to_ms(NOW) + number
            facts: dict[Any, Any] = {**row, "id": f"run-{number}", "state": "done", "ended": str(ended)}
            pipeline.hset(ledger.keys.run(f"run-{number}"), mapping=facts)
            pipeline.zadd(ledger.keys.ended(State.DONE), {f"run-{number}": ended})
        await pipeline.execute()
    changing = ledger.redis.pipeline(transaction=False)
    store_table(changing, ledger.keys, [replace(JOB, name=f"job-{n:06}") for n in range(others)])
    await changing.execute()
    for first in range(0, others, BATCH):
        cadences = {n: Every(DAY, NOW + timedelta(milliseconds=n)) for n in range(first, first + BATCH)}
        schedules = [Schedule(f"due-{n}", each, "bench.nothing", "io") for n, each in cadences.items()]
        await put_schedules(ledger, schedules[: others - first], now=NOW - timedelta(milliseconds=1))


async def pages(ledger: Ledger, runs: int, others: int) -> Figures:
    """Milliseconds and commands of a first page, and of one in the middle."""
    middle, half = to_ms(NOW) + runs // 2, others // 2
    due = Place(to_ms(NOW) + half, f"due-{half}")
    parts: dict[str, Callable[[], Awaitable[object]]] = {
        "runs": lambda: read_runs(ledger, WantedRuns(), limit=PAGE),
        "runs_middle": lambda: read_runs(
            ledger, WantedRuns(), limit=PAGE, after=RunPlace(True, Place(middle, f"run-{runs // 2}"))
        ),
        "jobs": lambda: read_jobs(ledger, limit=PAGE),
        "jobs_middle": lambda: read_jobs(ledger, after=f"job-{half:06}", limit=PAGE),
        "schedules": lambda: read_schedules(ledger, limit=PAGE),
        "schedules_middle": lambda: read_schedules(ledger, limit=PAGE, after=due),
    }
    figures: Figures = {}
    for name, part in parts.items():
        took = []
        for _ in range(TIMES):
            before = time.perf_counter()
            await part()
            took.append((time.perf_counter() - before) * 1000)
        figures[f"{name}_ms"] = statistics.median(took)
        figures[f"{name}_commands"] = await commands(ledger.redis, part)
    return figures


async def commands(redis: Redis, part: Callable[[], Awaitable[object]]) -> int:
    """How many commands it sends; refuses those that look at everything."""
    await redis.config_resetstat()
    await part()
    stats = await redis.info("commandstats")
    assert not LOOKS_AT_EVERYTHING & set(stats), stats
    return sum(each["calls"] for name, each in stats.items() if "config" not in name and "info" not in name)


async def compare(many: int) -> Figures:
    """The same pages among few and among many, in the same round."""
    measured = []
    for runs, others in ((FEW, FEW), (many, many // 10)):
        async with scene("--appendonly", "no") as here, here.client() as client:
            ledger = Ledger(client, Keys())
            await fill(ledger, runs, others)
            measured.append(await pages(ledger, runs, others))
    few, among_many = measured
    ratios = {
        name.replace("_ms", "_ratio"): among_many[name] / few[name] for name in few if name.endswith("_ms")
    }
    return among_many | ratios


def main() -> None:
    parser = options("bench.listing")
    parser.add_argument("--many", type=int, default=100_000)
    given = parser.parse_args()
    report(given, {"listing": lambda: compare(given.many)})


if __name__ == "__main__":
    main()
