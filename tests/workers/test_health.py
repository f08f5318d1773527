"""The ticker that looks after a worker's parts: what ends it is seen, and it can always be stopped."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.deployment import Deployment
from nightshift.graph.census import graph_resource
from nightshift.processes.liveness_file import Liveness
from nightshift.processes.resources import Resource, Resources
from nightshift.settings import load_settings
from tests.workers.conftest import until
from workers import health
from workers.coroutines import LoopThread
from workers.health import Ticker, WorkerSignOfLife

OFTEN = timedelta(seconds=0.01)
NEVER = timedelta(hours=1)


@pytest.fixture
def home() -> Iterator[LoopThread]:
    """A loop in a thread, as every worker has one."""
    home = LoopThread()
    atexit.unregister(home.close)
    yield home
    if not home.loop.is_closed():
        home.close()


class Ticks:
    """A tick that counts itself, and does what the test wishes."""

    def __init__(self, then: Callable[[], Awaitable[object]] | None = None) -> None:
        self.count = 0
        self.cancelled = False
        self._then = then

    async def __call__(self) -> None:
        self.count += 1
        try:
            if self._then is not None:
                await self._then()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def forever() -> None:
    await asyncio.Event().wait()


def started(home: LoopThread, tick: Callable[[], Awaitable[object]], every: timedelta = OFTEN) -> Ticker:
    ticker = Ticker(tick, home, every)
    ticker.start()
    return ticker


def test_it_ticks_again_and_again_until_it_is_stopped(home: LoopThread) -> None:
    ticks = Ticks()
    ticker = started(home, ticks)
    until(lambda: ticks.count >= 3)
    assert ticker.problem() == ""
    assert ticker.ticked is not None
    ticker.stop()
    count = ticks.count
    time.sleep(5 * OFTEN.total_seconds())
    assert ticks.count == count


# Ended


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a bug"), "ValueError: a bug"),
        (asyncio.CancelledError(), "it was cancelled"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_whatever_ends_the_ticker_is_told_and_leaves_the_loop_to_others(
    home: LoopThread, error: BaseException, words: str
) -> None:
    async def fail() -> None:
        raise error

    ticker = started(home, fail)
    until(lambda: bool(ticker.problem()))
    assert ticker.problem().startswith(f"the health ticker ended: {words}")
    assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "still there"), home.loop).result(5)
    ticker.stop()


def test_a_ticker_that_somebody_cancels_is_told(home: LoopThread) -> None:
    async def cancel_all() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    ticker = started(home, Ticks(), NEVER)
    asyncio.run_coroutine_threadsafe(cancel_all(), home.loop).result(5)
    until(lambda: ticker.problem() == "the health ticker ended: it was cancelled")


def test_a_ticker_whose_loop_is_gone_is_told(home: LoopThread) -> None:
    ticker = started(home, Ticks(), NEVER)
    home.close()
    assert ticker.problem().startswith("the health ticker ended")


def test_a_ticker_whose_loop_is_blocked_is_told(home: LoopThread) -> None:
    ticker, free = started(home, Ticks()), threading.Event()
    home.call(free.wait)
    until(lambda: "has not ticked for" in ticker.problem())
    free.set()
    until(lambda: ticker.problem() == "")
    ticker.stop()


# Stopped


def test_stopping_in_the_middle_of_a_tick_ends_the_tick(home: LoopThread) -> None:
    ticks = Ticks(forever)
    ticker = started(home, ticks)
    until(lambda: ticks.count == 1)
    ticker.stop()
    assert ticks.cancelled


def test_stopping_twice_and_at_once_and_before_it_started_is_safe(home: LoopThread) -> None:
    for ticker in (started(home, Ticks(), NEVER), Ticker(Ticks(), home, NEVER)):
        ticker.stop()
        ticker.stop()
        assert ticker.problem()


def test_stopping_after_its_loop_has_died_is_safe_and_does_not_wait(home: LoopThread) -> None:
    ticker = started(home, Ticks(), NEVER)
    home.close()
    began = time.monotonic()
    ticker.stop()
    assert time.monotonic() - began < 1


def test_stopping_a_tick_that_does_not_end_waits_a_bounded_time(home: LoopThread) -> None:
    stubborn = threading.Event()

    async def block() -> None:
        stubborn.wait()

    ticks = Ticks(block)
    ticker = started(home, ticks)
    until(lambda: ticks.count == 1)
    began = time.monotonic()
    ticker.stop(within=timedelta(seconds=0.1))
    assert 0.1 <= time.monotonic() - began < 1
    stubborn.set()


def test_it_can_be_stopped_on_its_own_loop_and_from_many_threads(home: LoopThread) -> None:
    ticker = started(home, Ticks(forever))
    began = time.monotonic()
    home.call(ticker.stop)
    threads = [threading.Thread(target=ticker.stop) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1
    assert ticker.problem()


# What it does


@pytest.fixture
async def resources(monkeypatch: pytest.MonkeyPatch) -> Resources:
    async def start() -> str:
        return "engine"

    async def fail(_: str) -> None:
        raise SystemExit(1)

    async def close(_: str) -> None: ...

    resources = Resources(Resource("engine", start, fail, close))
    monkeypatch.setattr(health, "deployment", lambda: SimpleNamespace(resources=resources))
    return resources


async def test_a_tick_with_nothing_alive_asks_redis_nothing(
    redis: Redis, redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = load_settings(state_url=f"unix://{redis_socket}?db=0", graph_url=f"unix://{redis_socket}?db=0")
    here = Deployment(given)
    monkeypatch.setattr(health, "deployment", lambda: here)

    async def commands() -> int:
        return int((await redis.info("stats"))["total_commands_processed"])

    before = await commands()
    for _ in range(10):
        await health._look_after_resources()
    assert await commands() - before == 1  # our own question


async def test_a_resource_that_ends_the_process_when_pinged_does_not_end_the_ticker(
    resources: Resources, home: LoopThread
) -> None:
    async with resources.use("engine"):
        pass
    ticker = started(home, health._look_after_resources)
    async with asyncio.timeout(5):
        while resources.report()[0]["crashes"] == 0:
            await asyncio.sleep(0.01)
    assert ticker.problem() == ""
    await asyncio.to_thread(ticker.stop)


# What a worker tells


class Timer:
    """Celery's timer, which fires when the test says so."""

    def __init__(self) -> None:
        self.entries: list[Callable[[], None]] = []

    def call_after(self, _: float, function: Callable[..., None], args: tuple[Any, ...]) -> Any:
        self.entries.append(lambda: function(*args))
        return SimpleNamespace(cancel=self.entries.clear)

    call_repeatedly = call_after


@pytest.fixture
def worker(tmp_path: Path) -> SimpleNamespace:
    """What Celery shows a bootstep of its worker."""
    liveness = Liveness(tmp_path / "w.alive")
    liveness.begin()
    return SimpleNamespace(
        hostname="w@here",
        timer=Timer(),
        liveness=liveness,
        consumer=SimpleNamespace(connection=None),
        concurrency=10,
        pool=None,
        app=SimpleNamespace(
            amqp=SimpleNamespace(queues=SimpleNamespace(consume_from={"io": SimpleNamespace(name="io")}))
        ),
    )


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The rows the worker writes."""
    told: list[dict[str, Any]] = []

    async def keep(_redis: Any, _keys: Any, _name: str, _kind: str, facts: dict[str, Any]) -> None:
        told.append(facts)

    async def goodbye(_: str) -> None: ...

    monkeypatch.setattr(health, "report", keep)
    monkeypatch.setattr(health, "_say_goodbye", goodbye)
    here = SimpleNamespace(resources=Resources(graph_resource(None)), state=None, keys=None)
    monkeypatch.setattr(health, "deployment", lambda: here)
    return told


def test_a_worker_is_ready_while_its_broker_is_connected_and_its_ticker_lives(
    worker: SimpleNamespace, told: list[dict[str, Any]], home: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "loop_thread", lambda: home)
    monkeypatch.setattr(health, "TICK_EVERY", OFTEN)
    dies = threading.Event()

    async def tick() -> None:
        if dies.is_set():
            raise SystemExit(1)

    monkeypatch.setattr(health, "_look_after_resources", tick)
    step = WorkerSignOfLife(worker)

    def look() -> dict[str, Any]:
        number = len(told)
        worker.timer.entries[-1]()
        until(lambda: len(told) > number)
        return told[-1]

    step.start(worker)
    until(lambda: bool(told))
    assert (told[-1]["ready"], told[-1]["why"]) == (False, "no broker is connected")
    assert not worker.liveness.ready_file.exists()

    worker.consumer.connection = object()
    until(lambda: look()["ticked"] is not None)
    assert (told[-1]["ready"], told[-1]["why"], told[-1]["queues"]) == (True, "", ["io"])
    assert [part["name"] for part in told[-1]["parts"]] == ["graph"]
    assert worker.liveness.ready_file.exists()

    dies.set()
    until(lambda: not look()["ready"])
    assert told[-1]["why"] == "the health ticker ended: SystemExit: 1"
    assert not worker.liveness.ready_file.exists()
    assert worker.liveness.file.exists()

    step.stop(worker)
    assert worker.timer.entries == []
