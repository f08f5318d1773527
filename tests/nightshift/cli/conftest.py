"""A deployment as the command line meets it: a store, and signs of life in it, but no processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from nightshift.base.instants import to_ms
from nightshift.cli.app import app
from nightshift.deployment import Deployment, process_settings
from nightshift.jobs.table import JobStatus, store_table
from nightshift.processes.signs_of_life import report
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.runs.row import RunRow
from nightshift.runs.states import Outcome
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from nightshift.time.cadence import every
from tests.nightshift.runs.model import request

STATE, BROKER = 9, 10
DIGEST = JobStatus("digest", True, "", "tasks.digest", "memory", "every hour", 60.0, True)


class Cli(Protocol):
    """``nightshift`` with these words."""

    async def __call__(self, *words: str) -> Result: ...


@pytest.fixture
async def redis(redis_socket: Path) -> AsyncIterator[Redis]:
    """Databases of their own, because the command line always uses the same root."""
    async with Redis(unix_socket_path=str(redis_socket), db=STATE, decode_responses=True) as client:
        yield client
        await client.flushdb()


@pytest.fixture
async def broker(redis_socket: Path) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=str(redis_socket), db=BROKER, decode_responses=True) as client:
        yield client
        await client.flushdb()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def settled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_socket: Path, redis: Redis, broker: Redis
) -> Iterator[None]:
    """Settings that name the test's stores, read afresh; the stores are swept afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", f"unix://{redis_socket}?db={STATE}")
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", f"unix://{redis_socket}?db={BROKER}")
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


@pytest.fixture
async def here(settled: None) -> AsyncIterator[Deployment]:
    """What the command line meets, as the test reaches it."""
    async with Deployment(process_settings()) as here:
        yield here


@pytest.fixture
def cli(settled: None) -> Cli:
    async def invoke(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, words, prog_name="nightshift")

    return invoke


def answer(result: Result) -> Any:
    """The one JSON document on standard output."""
    return json.loads(result.stdout)


@dataclass
class Stage:
    """Puts into the store what processes would."""

    ledger: Ledger

    async def worker(self, *queues: str, name: str = "w@here", **pool: int) -> None:
        facts = {"queues": queues or sorted(QUEUE_NAMES), "pool": {"limit": 10, "running": 0} | pool}
        await report(self.ledger.redis, self.ledger.keys, name, "worker", facts)

    async def beat(self, *, leads: bool = True) -> None:
        await report(self.ledger.redis, self.ledger.keys, "beat@here:1", "beat", {"leads": leads})
        await self.ledger.redis.set(f"{self.ledger.keys.beat_prefix}:lock", "token", px=10_000)

    async def everything(self) -> None:
        await self.worker()
        await self.beat()
        await self.ledger.look("w@here/pulse")

    async def silence(self, name: str) -> None:
        """Nobody has heard of this process for a while."""
        last = await store_now(self.ledger.redis) - timedelta(seconds=20)
        await self.ledger.redis.zadd(self.ledger.keys.processes, {name: to_ms(last)})

    async def job(self, anchor: datetime | None = None, next: datetime | None = None, **changes: Any) -> None:
        """An hourly job as beat stores it, with its grid and the slot it announced."""
        redis, keys = self.ledger.redis, self.ledger.keys
        status = replace(DIGEST, **changes)
        changing = redis.pipeline()
        store_table(changing, keys, [status])
        await changing.execute()
        now = await store_now(redis)
        row = f"{keys.beat_prefix}{status.name}"
        grid = every(hours=1).anchored(anchor or now - timedelta(days=2))
        await redis.hset(row, "cadence", json.dumps(grid.to_spec()))
        if status.on:
            coming = next or grid.slot_after(now)
            await redis.zadd(f"{keys.beat_prefix}:schedule", {row: coming.timestamp()})

    async def run(self, source: str = "news", outcome: Outcome | None = None, **changes: Any) -> str:
        """A run that waits, or one that ended like this."""
        nominal = changes.pop("nominal", None) or await store_now(self.ledger.redis)
        wanted = request(source, nominal, **changes)
        await self.ledger.record(wanted)
        if outcome:
            claimed = await self.claim(wanted.id)
            await self.ledger.settle(wanted.id, claimed.token, outcome, cost=25)
        return wanted.id

    async def claim(self, run: str) -> RunRow:
        claimed = await self.ledger.claim(run, worker="w@here", message="m1")
        assert isinstance(claimed, RunRow), claimed
        return claimed


@pytest.fixture
def stage(ledger: Ledger) -> Stage:
    return Stage(ledger)
