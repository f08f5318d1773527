"""``python -m bench.tenants [--rounds 3]``: five tenants, alone and beside one that has 100 times as much."""

from __future__ import annotations

import argparse
import asyncio
import statistics
from datetime import UTC, datetime, timedelta

from bench.scene import quantile, scene, start_pulse, until_worker_answers
from nightshift.runs.row import RunId, RunRequest, run_id
from nightshift.runs.states import State

THINK = "bench.tenants.app.think"
CALM = tuple(f"calm-{n}" for n in range(5))
#: Runs a second of each calm tenant, and for how long.
RATE, SECONDS = 2, 20
TIMES = 100
#: What one worker of the bench carries out at once: less than the loud tenant alone asks for.
SLOTS = 100
LEAD = timedelta(seconds=3)


def runs_of(tenant: str, start: datetime, rate: float) -> list[RunRequest]:
    instants = [start + timedelta(seconds=n / rate) for n in range(round(SECONDS * rate))]
    return [RunRequest(run_id(tenant, at), tenant, at, THINK, "agents", tenant=tenant) for at in instants]


async def calm_latencies(*, loud: bool) -> list[float]:
    """From when a run was due to its end, in seconds, for the calm tenants' runs."""
    async with (
        scene() as here,
        here.celery("worker", "-c", str(SLOTS), "-n", "bench@%h", app="bench.tenants.app"),
    ):
        await until_worker_answers(here)
        ledger = here.ledger()
        start = datetime.now(UTC) + LEAD
        calm = [run for tenant in CALM for run in runs_of(tenant, start, RATE)]
        for tenant, rate in (("loud", RATE * TIMES),) if loud else ():
            await ledger.record_many((run, None, None) for run in runs_of(tenant, start, rate))
        await ledger.record_many((run, None, None) for run in calm)
        await start_pulse(here)
        names = [RunId(run.id) for run in calm]
        async with asyncio.timeout(SECONDS * 10):
            while not all(row.state is State.DONE for row in await ledger.rows(names)):
                await asyncio.sleep(0.5)
        return [(row.ended - row.nominal).total_seconds() for row in await ledger.rows(names) if row.ended]


async def run(rounds: int) -> None:
    ratios = []
    for _ in range(rounds):
        p99 = {}
        for loud in (False, True):
            found = await calm_latencies(loud=loud)
            p99[loud] = quantile(found, 0.99)
            beside = "beside a loud one" if loud else "alone"
            print(f"{beside}: p50 {quantile(found, 0.5):.2f} s, p99 {p99[loud]:.2f} s", flush=True)
        ratios.append(p99[True] / p99[False])
        print(f"p99 beside a loud one / alone: {ratios[-1]:.2f}", flush=True)
    print(f"\nmedian {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); limit 2")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tenants")
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
