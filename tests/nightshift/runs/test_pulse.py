"""The pulse on a real ledger, with a publisher that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef
from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import Switches
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.runs import pulse
from nightshift.runs.ledger import DueVisit, Hint, Ledger
from nightshift.runs.pulse import LongQueues, keep_pulse
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Rules, done
from nightshift.schedules.recording import record_due
from nightshift.schedules.schedule import Schedule, put_schedules
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from nightshift.time.cadence import Every

SOON = 5


class Published:
    """Hints as they were published; can be made to fail."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.beats: list[DueVisit] = []
        self.changed = asyncio.Event()
        self.broken = False

    async def __call__(self, hints: Sequence[Hint]) -> None:
        if self.broken:
            self.changed.set()
            raise ConnectionError("no broker")
        self.hints += hints
        self.changed.set()

    async def take_visits(self, beats: Sequence[DueVisit], now: datetime) -> None:
        if self.broken:
            self.changed.set()
            raise ConnectionError("no broker")
        self.beats += beats
        self.changed.set()

    async def until(self, count: int) -> list[Hint]:
        async with asyncio.timeout(SOON):
            while len(self.hints) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.hints


async def no_long_queues() -> Mapping[str, timedelta]:
    return {}


Pulse = Callable[..., "asyncio.Task[None]"]


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def switches(redis: Redis, keys: Keys) -> Switches:
    return Switches(redis, keys, Settings())


@pytest.fixture
async def start_pulse(
    ledger: Ledger, switches: Switches, published: Published
) -> AsyncIterator[Callable[..., asyncio.Task[None]]]:
    running: list[asyncio.Task[None]] = []

    def start(
        holder: str = "one",
        *,
        rules: Rules | None = None,
        leaving: asyncio.Event | None = None,
        long_queues: LongQueues = no_long_queues,
    ) -> asyncio.Task[None]:
        own = Ledger(ledger.redis, ledger.keys, rules)
        pulse = keep_pulse(
            own,
            switches,
            holder=holder,
            record_due=partial(record_due, own),
            publish=published,
            publish_visits=published.take_visits,
            long_queues=long_queues,
            leaving=leaving or asyncio.Event(),
        )
        running.append(asyncio.create_task(pulse))
        return running[-1]

    yield start
    for task in running:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def a_run(name: str = "x", queue: str = "io", ready: datetime | None = None) -> RunRequest:
    nominal = datetime.now(UTC)
    return RunRequest(run_id(name, nominal), name, nominal, "tasks.some.thing", queue, ready=ready)


async def until_on_shift(ledger: Ledger, holder: str) -> None:
    async with asyncio.timeout(SOON):
        while await ledger.redis.hget(ledger.keys.shift, "holder") != holder:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    async with asyncio.timeout(seconds):
        yield


async def test_a_run_recorded_while_the_pulse_sleeps_is_hinted_at_once(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    start_pulse()
    await until_on_shift(ledger, "one")
    async with within(1):
        request = a_run()
        await ledger.record(request)
        assert [hint.run_id for hint in await published.until(1)] == [request.id]


async def test_a_run_is_not_hinted_before_it_is_ready(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    start_pulse()
    ready = datetime.now(UTC) + timedelta(milliseconds=300)
    await ledger.record(a_run(ready=ready))
    await published.until(1)
    assert datetime.now(UTC) >= ready - timedelta(milliseconds=1)


async def test_a_schedule_that_comes_due_becomes_a_run_with_its_slot(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    slot = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    schedule = Schedule("prompt:1", Every(timedelta(days=1), slot), "tasks.some.thing", "agents")
    await put_schedules(ledger, [schedule], now=slot - timedelta(seconds=2))
    start_pulse()
    hints = await published.until(1)
    assert hints[0].run_id == run_id("prompt:1", slot)
    assert (
        await ledger.redis.zscore(ledger.keys.due, "prompt:1")
        == (slot + timedelta(days=1)).timestamp() * 1000
    )


async def test_a_schedule_that_cannot_be_read_does_not_hold_up_the_others(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    slot = datetime.now(UTC).replace(microsecond=0)
    good = Schedule("good", Every(timedelta(days=1), slot), "tasks.some.thing", "agents")
    await put_schedules(ledger, [good], now=slot - timedelta(seconds=1))
    await ledger.redis.hset(ledger.keys.schedule("bad"), mapping={"id": "bad", "cadence": "{broken"})
    await ledger.redis.zadd(ledger.keys.due, {"bad": 1})
    start_pulse()
    assert [hint.run_id for hint in await published.until(1)] == [run_id("good", slot)]
    assert await ledger.redis.zscore(ledger.keys.due, "bad") is None
    assert "JSON" in str(await ledger.redis.hget(ledger.keys.schedule("bad"), "quarantined"))


@pytest.mark.parametrize("how", ["switched off", "frozen"])
async def test_a_queue_that_needs_a_model_gets_no_hints_while_models_are_switched_off_or_frozen(
    ledger: Ledger, start_pulse: Pulse, published: Published, switches: Switches, how: str
) -> None:
    if how == "frozen":
        await Freeze(ledger.redis, ledger.keys).freeze("ann")
    else:
        await switches.set("chat_llm_enabled", False)
    closed, free = a_run("closed", "heartbeat"), a_run("free", "graph")
    await ledger.record(closed)
    await ledger.record(free)
    start_pulse()
    assert [hint.run_id for hint in await published.until(1)] == [free.id]
    assert (await ledger.get(closed.id)).raw["hints"] == "0"


async def test_a_queue_that_is_already_long_gets_no_hints(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    async def io_is_long() -> Mapping[str, timedelta]:
        return {"io": timedelta(seconds=5)}

    await ledger.record(a_run("long", "io"))
    other = a_run("other", "graph")
    await ledger.record(other)
    start_pulse(long_queues=io_is_long)
    assert [hint.run_id for hint in await published.until(1)] == [other.id]


async def test_one_holds_the_shift_and_another_takes_over_as_soon_as_it_is_given_back(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    leaving = asyncio.Event()
    first = start_pulse("one", leaving=leaving)
    await until_on_shift(ledger, "one")
    start_pulse("two")
    await asyncio.sleep(0)
    leaving.set()
    async with within(2):
        await first
        await until_on_shift(ledger, "two")
    request = a_run()
    await ledger.record(request)
    assert [hint.run_id for hint in await published.until(1)] == [request.id]


async def test_the_shift_passes_on_when_it_has_lasted_long_enough(ledger: Ledger, start_pulse: Pulse) -> None:
    short = Rules(shift=timedelta(milliseconds=100), shift_lease=timedelta(milliseconds=400))
    first = start_pulse("one", rules=short)
    await until_on_shift(ledger, "one")
    start_pulse("two", rules=short)
    async with within(3):
        await first
        await until_on_shift(ledger, "two")


async def test_hints_that_could_not_be_published_are_published_later(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    published.broken = True
    request = a_run()
    await ledger.record(request)
    start_pulse(rules=Rules(hint_again=timedelta(milliseconds=50)))
    async with within(SOON):
        await published.changed.wait()
    published.broken = False
    assert {hint.run_id for hint in await published.until(1)} == {request.id}


async def test_a_run_that_has_ended_is_not_hinted_again(
    ledger: Ledger, start_pulse: Pulse, published: Published
) -> None:
    start_pulse(rules=Rules(hint_again=timedelta(milliseconds=50)))
    request = a_run()
    await ledger.record(request)
    await published.until(1)
    claimed = await ledger.claim(request.id, worker="w", message="m")
    assert not isinstance(claimed, str)
    await ledger.settle(request.id, claimed.token, done())
    hints_so_far = len(published.hints)
    # A second one, hinted twice, tells that the time for a second hint has passed.
    await ledger.record(a_run("other"))
    later = (await published.until(hints_so_far + 2))[hints_so_far:]
    assert request.id not in {hint.run_id for hint in later}


async def test_a_channels_beat_is_published_ahead_of_its_time_and_not_while_channels_do_not_beat(
    ledger: Ledger, start_pulse: Pulse, published: Published, switches: Switches
) -> None:
    beats, now = Visits(ledger.redis, ledger.keys), datetime.now(UTC)
    ref = ChannelRef("discord", "1")
    await beats.adopt({ref: None}, HeartbeatRules(), now=now)
    at = int((now + timedelta(seconds=3)).timestamp() * 1000)
    await ledger.redis.hset(ledger.keys.visit(str(ref)), "next_at", at)
    await ledger.redis.zadd(ledger.keys.visits, {str(ref): at})
    await switches.set("channel_heartbeat_enabled", False)
    first = start_pulse()
    await ledger.record(run := a_run())
    assert [hint.run_id for hint in await published.until(1)] == [run.id]
    assert not published.beats
    first.cancel()
    await switches.set("channel_heartbeat_enabled", True)
    start_pulse("two")
    async with within(SOON):
        while not published.beats:
            published.changed.clear()
            await published.changed.wait()
    (beat,) = published.beats
    assert (beat.channel, beat.generation) == (str(ref), 1)
    assert datetime.now(UTC) < beat.at


async def test_a_queue_that_stays_long_gets_nothing_for_as_long_as_it_is(
    ledger: Ledger, start_pulse: Pulse, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That nothing was published meanwhile says nothing about it."""
    monkeypatch.setattr(pulse, "GATES_AGE", timedelta(0))
    measured = 0

    async def io_is_long() -> Mapping[str, timedelta]:
        nonlocal measured
        measured += 1
        return {"io": timedelta(milliseconds=20)}

    await ledger.record(a_run("long", "io"))
    start_pulse(long_queues=io_is_long)
    async with within(SOON):
        while measured < 4:
            await asyncio.sleep(0.01)
    assert not published.hints
