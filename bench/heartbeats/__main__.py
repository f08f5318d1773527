"""``python -m bench.heartbeats [--rounds 3] [--only PART] [--json]``."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import psutil

from bench.heartbeats.noted import NOTED
from bench.rounds import Figures, options, report
from bench.scene import Scene, quantile, scene, start_pulse, until_worker_answers
from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.row import source_of
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visiting import Visited, Visiting
from nightshift.heartbeats.visits import Visits
from nightshift.runs.ledger import DueVisit

STORED, DUE = 100_000, 10_000
MINUTE = timedelta(minutes=1)
#: Seconds in which Redis has rehashed its tables after a bulk load.
SETTLED = 5
#: From then to the first visit; the pulse must have begun by then.
LEAD = timedelta(seconds=15)
RULES = HeartbeatRules()
#: Visits that are carried out together.
TOGETHER = 500
#: Nobody sleeps, no bot has to be there, and the model, which nobody asks, has an address.
SETTINGS = {
    "NIGHTSHIFT_MODEL__URL": "http://127.0.0.1:1/v1",
    "NIGHTSHIFT_AGENTS__DEFAULT__RUNNER": "model",
    "NIGHTSHIFT_AGENTS__DEFAULT__QUIET_FROM": "00:00",
    "NIGHTSHIFT_AGENTS__DEFAULT__QUIET_UNTIL": "00:00",
}


async def ours() -> Figures:
    """From nominal time until the gates have decided, on one worker; nothing changed in any channel."""
    async with scene() as here, here.celery("worker", "-n", "bench@%h") as worker:
        await until_worker_answers(here)
        refs = await _store(here, STORED)
        start = datetime.now(UTC) + LEAD
        due = await _have_due(here, refs[:DUE], start)
        await start_pulse(here)
        await asyncio.sleep(3)
        growth = asyncio.create_task(_growth(worker.pid, start + MINUTE))
        ledger, keys = here.ledger(), here.ledger().keys
        await asyncio.sleep((start + MINUTE - datetime.now(UTC)).total_seconds() + 1)
        async with asyncio.timeout(60):
            while await ledger.redis.zcount(keys.visits, "-inf", to_ms(start + MINUTE)) or (
                await ledger.redis.zcard(keys.visits_out)
            ):
                await asyncio.sleep(0.2)
        lateness, twice = [], 0
        for ref, at in due.items():
            skips = await ledger.skips(source_of(ref))
            assert [skip.reason for skip in skips] == ["unchanged"], skips
            lateness.append((skips[0].at - at).total_seconds() * 1000)
            twice += skips[0].times - 1
            twice += int(await ledger.redis.hget(keys.visit(str(ref)), "generation") or 0) - 2
        return _lateness(lateness) | {"growth_mb": await growth, "twice": twice}


async def stock() -> Figures:
    """Stock Celery: the same visits as countdowns, published in one go."""
    words = ("worker", "-n", "stock@%h", "--without-gossip", "--without-mingle")
    async with scene() as here, here.celery(*words, app="bench.heartbeats.stock_app") as worker:
        await asyncio.sleep(5)
        start = datetime.now(UTC) + LEAD
        growth = asyncio.create_task(_growth(worker.pid, start + MINUTE))
        code = (
            "from datetime import datetime, UTC, timedelta\n"
            "from bench.heartbeats.stock_app import visit\n"
            f"start = {start.timestamp()}\n"
            f"for n in range({DUE}):\n"
            f"    at = start + 60 * n / {DUE}\n"
            "    visit.apply_async((str(n), at), eta=datetime.fromtimestamp(at, UTC))\n"
        )
        await _python(here, code)
        async with here.client() as client, asyncio.timeout(180):
            while await client.llen(NOTED) < DUE:
                await asyncio.sleep(0.2)
            noted = [float(each) for each in await client.lrange(NOTED, 0, -1)]
        return _lateness(noted) | {"growth_mb": await growth, "twice": len(noted) - DUE}


async def unchanged() -> Figures:
    """A pass over 10,000 channels in which nothing changed: read, gates, noted; in batches."""
    async with _stage() as (here, visiting, refs):
        cpu, redis_cpu = time.process_time(), _cpu(here.redis_pid)
        began = time.perf_counter()
        visited = await _pass(visiting, refs)
        took = {
            "cpu_s": time.process_time() - cpu,
            "redis_cpu_s": _cpu(here.redis_pid) - redis_cpu,
            "elapsed_s": time.perf_counter() - began,
        }
        assert all(each.recorded == "advanced" and each.run is None for each in visited)
        client = here.client()
        spent = [key async for key in client.scan_iter("*budget*", count=1000)]
        await client.aclose()
        assert len(visited) == DUE
        return took | {"runs": (await here.ledger().counts())["open"], "reservations": len(spent)}


async def changed() -> Figures:
    """The same pass after something was said in one of ten: all of those are noticed, and no others."""
    async with _stage() as (here, visiting, refs):
        new = {ref for ref in refs if Random(str(ref)).random() < 0.1}
        client = here.client()
        pipeline = client.pipeline(transaction=False)
        for ref in new:
            pipeline.hset(here.ledger().keys.channel(ref), "digest", "2")
        await pipeline.execute()
        await client.aclose()
        found = {each.ref for each in await _pass(visiting, refs) if each.run}
        return {"changed": len(new), "noticed": len(found & new), "others": len(found - new)}


@asynccontextmanager
async def _stage() -> AsyncIterator[tuple[Scene, Visiting, list[ChannelRef]]]:
    """10,000 channels that are due, and what carries their visits out, in this process."""
    async with scene() as here:
        refs = await _store(here, DUE)
        async with here.deployment() as deployment:
            yield here, deployment.heartbeats.visiting, refs


async def _pass(visiting: Visiting, refs: list[ChannelRef]) -> list[Visited]:
    now = datetime.now(UTC)
    visited: list[Visited] = []
    for first in range(0, len(refs), TOGETHER):
        some = refs[first : first + TOGETHER]
        visited += await visiting.visit([DueVisit(str(ref), 1, now) for ref in some], now=now)
    return visited


async def _store(here: Scene, stored: int) -> list[ChannelRef]:
    """Channels in which a person spoke and a model has looked; none is visited while the benchmark runs."""
    ledger = here.ledger()
    keys, now = ledger.keys, datetime.now(UTC)
    refs = [ChannelRef("local", f"room-{n}") for n in range(stored)]
    visits = Visits(ledger.redis, keys, lot=Random(1))
    await visits.adopt(dict.fromkeys(refs), RULES, now=now + timedelta(hours=1))
    for first in range(0, stored, 2000):
        pipeline = ledger.redis.pipeline(transaction=False)
        for ref in refs[first : first + 2000]:
            row: dict[Any, Any] = {
                "platform": ref.platform,
                "id": ref.id,
                "tenant": "default",
                "agent": "default",
            }
            row |= {"digest": "1", "last_human_at": to_ms(now - 5 * MINUTE)}
            looked: dict[Any, Any] = {"digest": "1", "thought_at": to_ms(now - MINUTE)}
            pipeline.hset(keys.channel(ref), mapping=row)
            pipeline.hset(keys.visit(str(ref)), mapping=looked)
        await pipeline.execute()
    await ledger.redis.aclose()
    await asyncio.sleep(SETTLED)
    return refs


async def _have_due(here: Scene, refs: list[ChannelRef], start: datetime) -> dict[ChannelRef, datetime]:
    """Have these visited within a minute, evenly spread."""
    ledger = here.ledger()
    due = {ref: start + MINUTE * n / len(refs) for n, ref in enumerate(refs)}
    pipeline = ledger.redis.pipeline(transaction=False)
    for ref, at in due.items():
        pipeline.zadd(ledger.keys.visits, {str(ref): to_ms(at)})
        pipeline.hset(ledger.keys.visit(str(ref)), "next_at", to_ms(at))
    await pipeline.execute()
    await ledger.redis.aclose()
    return due


async def _growth(pid: int, until: datetime) -> float:
    """By how much the process comes to be larger than it is now."""
    process = psutil.Process(pid)
    first = largest = process.memory_info().rss
    while datetime.now(UTC) < until:
        largest = max(largest, process.memory_info().rss)
        await asyncio.sleep(0.2)
    return (largest - first) / 2**20


def _lateness(late: list[float]) -> Figures:
    return {"p50_ms": quantile(late, 0.5), "p99_ms": quantile(late, 0.99), "max_ms": max(late)}


def _cpu(pid: int) -> float:
    return float(sum(psutil.Process(pid).cpu_times()[:2]))


async def _python(here: Scene, code: str) -> None:
    command = [sys.executable, "-c", code]
    await asyncio.to_thread(subprocess.run, command, env=here.environment, check=True, cwd=".")


PARTS: dict[str, Callable[[], Awaitable[Figures]]] = {
    "10,000 of 100,000 due within a minute, ours": ours,
    "10,000 due within a minute, stock countdowns": stock,
    "10,000 channels, nothing changed": unchanged,
    "10,000 channels, one of ten changed": changed,
}


def main() -> None:
    given = options("bench.heartbeats").parse_args()
    os.environ.update(SETTINGS)
    report(given, PARTS)


if __name__ == "__main__":
    main()
