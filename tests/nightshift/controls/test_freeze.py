"""Somebody freezes: nothing is called or sent any more. What waited comes back one by one after a thaw."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import Frozen, OutOfBudget
from nightshift.base.instants import from_ms
from nightshift.controls.freeze import LOOK_AGAIN, Freeze, describe_thaw
from nightshift.controls.switches import Switches
from nightshift.deployment import Deployment
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest
from nightshift.runs.spread import PACE
from nightshift.runs.states import State
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.store.events import read_events
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import request

SOON = timedelta(milliseconds=5)


@pytest.fixture
def freeze(redis: Redis, keys: Keys) -> Freeze:
    return Freeze(redis, keys, look_every=SOON)


class CountingRedis:
    """How often the store is asked whether everything is frozen."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.asked = 0

    def register_script(self, script: str) -> object:
        return self.redis.register_script(script)

    async def hget(self, *words: str) -> object:
        self.asked += 1
        return await self.redis.hget(*words)


async def test_what_is_frozen_refuses_and_says_by_whom_and_why_until_it_thaws(
    freeze: Freeze, redis: Redis, keys: Keys
) -> None:
    await freeze.refuse()
    await freeze.freeze("ann", "it says odd things")
    await freeze.freeze("ben", "me too")
    with pytest.raises(Frozen, match=r"^ann froze .* it says odd things; `nightshift thaw` ends it$"):
        await freeze.refuse()
    assert (await Switches(redis, keys, Settings()).read()).frozen == await freeze.state()
    assert await freeze.thaw("ben") == 0
    assert await freeze.thaw("ben") is None
    await freeze.refuse()
    told = [(event.type, event.facts["by"]) for event in await read_events(redis, keys, after="0", limit=9)]
    assert told == [("frozen", "ann"), ("thawed", "ben")]


@pytest.mark.parametrize(
    ("waited", "told"),
    [
        (None, "nothing was frozen"),
        (0, "thawed; no run had to wait"),
        (1, "thawed; one run that waited comes back"),
        (7, "thawed; 7 runs that waited come back one by one"),
    ],
)
def test_a_thaw_says_what_it_did(waited: int | None, told: str) -> None:
    assert describe_thaw(waited) == told


async def test_calls_under_way_are_cut_short_wherever_they_are(
    freeze: Freeze, redis: Redis, keys: Keys
) -> None:
    elsewhere = Freeze(redis, keys, look_every=SOON)
    ended = []

    async def call(here: Freeze, number: int) -> None:
        try:
            async with here.watch():
                await asyncio.Event().wait()
        finally:
            ended.append(number)

    calls = [asyncio.create_task(call((freeze, elsewhere)[number % 2], number)) for number in range(20)]
    await asyncio.sleep(0)
    await freeze.freeze("ann", "stop")
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Frozen}
    assert len(ended) == 20
    with pytest.raises(Frozen):
        await call(freeze, 20)
    await freeze.thaw("ann")
    async with freeze.watch():
        await asyncio.sleep(SOON.total_seconds() * 3)


async def test_what_goes_wrong_inside_stays_what_it_is(freeze: Freeze) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with freeze.watch():
            raise TimeoutError("mine")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), freeze.watch():
            await asyncio.sleep(1)
    inside = asyncio.Event()

    async def call() -> None:
        async with freeze.watch():
            inside.set()
            await asyncio.sleep(60)

    calling = asyncio.create_task(call())
    await inside.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


async def test_one_poll_serves_all_calls_and_none_is_made_while_there_are_none(
    redis: Redis, keys: Keys
) -> None:
    counted = CountingRedis(redis)
    freeze = Freeze(counted, keys, look_every=timedelta(milliseconds=20))  # type: ignore[arg-type]

    async def call() -> None:
        async with freeze.watch():
            await asyncio.sleep(0.1)

    await asyncio.gather(*(call() for _ in range(50)))
    assert 1 <= counted.asked <= 5
    asked = counted.asked
    await asyncio.sleep(0.1)
    assert counted.asked == asked
    await freeze.close()


# Runs that meet it


@pytest.mark.parametrize("error", [Frozen("stop", retry_after=LOOK_AGAIN), OutOfBudget("the cap is reached")])
async def test_a_run_that_may_not_go_on_waits_however_often_and_spends_nothing(
    ledger: Ledger, now: datetime, error: Exception
) -> None:
    run = request("news", now)
    await ledger.record(run)

    async def work(run: Run) -> None:
        raise error

    for _ in range(8):
        assert await carry_out(ledger, run.id, work, worker="w", message="m") == State.WAITING
        await ledger.redis.hset(ledger.keys.run(run.id), "ready", 0)
    row = await ledger.get(run.id)
    assert (row.attempts, row.retries, row.state) == (0, 0, State.WAITING)
    assert row.reason.startswith(f"{type(error).__name__}: ")


async def test_after_a_thaw_what_waited_comes_back_one_by_one_and_what_was_not_due_stays(
    ledger: Ledger, freeze: Freeze
) -> None:
    now = await store_now(ledger.redis)

    async def record(name: str, queue: str, ready: datetime | None = None) -> RunRequest:
        run = request(name, now, queue=queue, ready=ready)
        await ledger.record(run)
        return run

    async def leave(run: RunRequest, error: Exception) -> None:
        async def work(run: Run) -> None:
            raise error

        await carry_out(ledger, run.id, work, worker="w", message="m")

    await freeze.freeze("ann")
    waiting = [await record(f"prompt:{number}", "agents") for number in range(4)]
    delivery = await record("delivery", "io")
    await leave(delivery, Frozen("stop", retry_after=LOOK_AGAIN))
    poor = await record("poor", "io")
    await leave(poor, OutOfBudget("no room", retry_after=timedelta(hours=3)))
    later = await record("later", "agents", now + timedelta(hours=1))
    other = await record("graph", "graph")
    running = await record("running", "agents")
    claimed = await ledger.claim(running.id, worker="w", message="m")
    assert not isinstance(claimed, str)

    before = await open_index(ledger)
    assert await freeze.thaw("ann") == len(waiting) + 1
    after = await open_index(ledger)
    back = sorted(after[run.id] for run in [*waiting, delivery])
    steps = [second - first for first, second in pairwise(back)]
    assert steps == [PACE] * 4
    assert abs(back[0] - now) < timedelta(seconds=5)
    for run in (poor, later, other, running):
        assert after[run.id] == before[run.id], run.id
    assert (await ledger.get(delivery.id)).ready == after[delivery.id]
    await ledger.renew(running.id, claimed.token)


async def open_index(ledger: Ledger) -> dict[str, datetime]:
    entries: Any = await ledger.redis.zrange(ledger.keys.open, 0, -1, withscores=True)
    return {run: from_ms(score) for run, score in entries}


async def test_a_run_of_a_model_says_that_it_waits_for_the_thaw(
    here: Deployment, ledger: Ledger, freeze: Freeze
) -> None:
    run = request("prompt:1", datetime.now(UTC), queue="agents")
    await ledger.record(run)
    await freeze.freeze("ann", "too loud")
    says = " ".join((await here.status.why_run(run.id)).says)
    assert "queue agents is closed: ann froze every call and send" in says
    assert "too loud; `nightshift thaw` opens it" in says
