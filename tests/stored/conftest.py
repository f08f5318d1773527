"""The store of each version as it stood when it was written down, at that moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.controls.switches import Switches
from nightshift.runs.ledger import Ledger
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock
from tests.stored.dump import load, load_graph

HERE = Path(__file__).parent
STATE = 3
#: The tenants whose graphs were written down.
GRAPHS = ("default", "north-side")


def lines_of(name: str) -> list[str]:
    return (HERE / f"{name}-0.1.jsonl").read_text().splitlines()


class ThatDay(Redis):
    """A client of a store whose clock stands where the test's does."""

    clock: Clock

    async def time(self, **_: Any) -> tuple[int, int]:
        seconds, rest = divmod(self.clock.now - datetime.fromtimestamp(0, UTC), timedelta(seconds=1))
        return seconds, rest // timedelta(microseconds=1)


@pytest.fixture(scope="session")
def stored() -> Sequence[str]:
    return lines_of("store")


@pytest.fixture
def clock(stored: Sequence[str]) -> Clock:
    """The moment at which it was written down."""
    return Clock(datetime.fromisoformat(json.loads(stored[0])["now"]))


@pytest.fixture
async def redis(redis_socket: Path, stored: Sequence[str], clock: Clock) -> AsyncIterator[Redis]:
    """The store, in a database of its own because its values name keys."""
    async with ThatDay(unix_socket_path=str(redis_socket), db=STATE, decode_responses=True) as client:
        client.clock = clock
        await client.flushdb()
        await load(client, stored)
        yield client
        await client.flushdb()


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def ledger(redis: Redis, keys: Keys, clock: Clock) -> Ledger:
    return Ledger(redis, keys, clock=clock)


@pytest.fixture
def switches(redis: Redis, keys: Keys) -> Switches:
    return Switches(redis, keys, Settings())


@pytest.fixture
async def recalled(graphs: Redis) -> Redis:
    """The graphs of both tenants, in a server of their own."""
    for tenant in GRAPHS:
        first, *lines = lines_of(f"graph-{tenant}")
        await load_graph(graphs, json.loads(first)["graph"], lines)
    return graphs
