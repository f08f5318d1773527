"""What is kept between uses: started late and once, closed when it idles, forgotten when it crashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import BadSetting, NotPossible, Overloaded
from nightshift.processes.resources import (
    LONGEST_PAUSE,
    Crashes,
    Resource,
    ResourceResting,
    Resources,
    steady_now,
)

MAX_IDLE = timedelta(minutes=10)
AT_ONCE = timedelta(seconds=0.05)
SECOND = timedelta(seconds=1)
STARTS = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Engine:
    """One life of a part."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False


class Works:
    """Makes engines, and breaks them as the test wishes."""

    def __init__(self) -> None:
        self.made: list[Engine] = []
        self.pings = 0
        self.start_fails: BaseException | None = None
        self.ping_fails: BaseException | None = None
        self.close_fails: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = asyncio.Event()

    async def start(self) -> Engine:
        await self.gate.wait()
        if self.start_fails:
            raise self.start_fails
        self.made.append(Engine(len(self.made)))
        return self.made[-1]

    async def ping(self, engine: Engine) -> None:
        self.pings += 1
        self.asked.set()
        await self.answers.wait()
        if self.ping_fails:
            raise self.ping_fails

    async def close(self, engine: Engine) -> None:
        engine.closed = True
        if self.close_fails:
            raise self.close_fails


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = STARTS

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def works() -> Works:
    return Works()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def resource(works: Works, name: str = "engine") -> Resource[Engine]:
    return Resource(
        name, works.start, works.ping, works.close, MAX_IDLE, start_within=SECOND, answer_within=AT_ONCE
    )


@pytest.fixture
async def resources(works: Works, clock: Clock) -> AsyncIterator[Resources]:
    resources = Resources(resource(works), now=clock)
    yield resources
    works.gate.set()
    works.answers.set()
    await resources.close()


async def use(resources: Resources, name: str = "engine") -> Engine:
    async with resources.use(name) as engine:
        assert isinstance(engine, Engine)
        return engine


def crashes(resources: Resources) -> tuple[bool, int, str]:
    (told,) = resources.report()
    return told["alive"], told["crashes"], told["why"]


# Starting


async def test_nothing_starts_before_it_is_used_and_then_it_is_kept(
    resources: Resources, works: Works
) -> None:
    await resources.look_after()
    assert (works.made, works.pings) == ([], 0)
    assert await use(resources) is await use(resources)
    (told,) = resources.report()
    assert (told["name"], told["alive"], told["uses"]) == ("engine", True, 2)


async def test_uses_that_come_together_start_it_once(resources: Resources, works: Works) -> None:
    works.gate.clear()
    together = [asyncio.create_task(use(resources)) for _ in range(10)]
    await asyncio.sleep(0)
    works.gate.set()
    assert set(await asyncio.gather(*together)) == {works.made[0]}
    assert len(works.made) == 1


async def test_whoever_gives_up_waiting_for_a_start_leaves_it_to_the_next(
    resources: Resources, works: Works
) -> None:
    works.gate.clear()
    impatient, patient = asyncio.create_task(use(resources)), asyncio.create_task(use(resources))
    await asyncio.sleep(0)
    impatient.cancel()
    works.gate.set()
    assert await patient is works.made[0]
    assert crashes(resources) == (True, 0, "")


async def test_a_start_that_failed_is_tried_again_by_the_next_use(resources: Resources, works: Works) -> None:
    works.start_fails = OSError("no such program")
    with pytest.raises(OSError, match="no such program"):
        await use(resources)
    assert crashes(resources) == (False, 1, "OSError: no such program")
    works.start_fails = None
    assert await use(resources) is works.made[0]


async def test_a_start_that_hangs_is_given_up(works: Works, clock: Clock) -> None:
    hanging = Resource("engine", works.start, works.ping, works.close, start_within=AT_ONCE)
    resources = Resources(hanging, now=clock)
    works.gate.clear()
    with pytest.raises(Overloaded, match="'engine' has not started within"):
        await use(resources)
    assert crashes(resources)[:2] == (False, 1)


async def test_what_can_never_start_says_so_each_time_and_counts_as_no_crash(
    resources: Resources, works: Works
) -> None:
    works.start_fails = BadSetting("no model is set; set NIGHTSHIFT_MODEL__URL")
    for _ in range(5):
        with pytest.raises(BadSetting, match="no model is set"):
            await use(resources)
    assert crashes(resources) == (False, 0, "")


def test_a_name_is_registered_once(works: Works) -> None:
    with pytest.raises(NotPossible, match="'engine' is registered twice"):
        Resources(resource(works), resource(works))


async def test_a_name_nobody_registered_is_refused_with_those_that_are(resources: Resources) -> None:
    with pytest.raises(NotPossible, match="'motor'; those registered: engine"):
        async with resources.use("motor"):
            pass


# Idling


async def test_what_idles_for_longer_than_it_may_is_closed_and_starts_anew_when_used(
    resources: Resources, works: Works, clock: Clock
) -> None:
    first = await use(resources)
    clock.advance(MAX_IDLE)
    await resources.look_after()
    assert not first.closed
    clock.advance(SECOND)
    await resources.look_after()
    assert first.closed
    assert crashes(resources) == (False, 0, "")
    assert await use(resources) is not first


async def test_a_ping_is_no_use(resources: Resources, works: Works, clock: Clock) -> None:
    engine = await use(resources)
    for _ in range(3):
        clock.advance(MAX_IDLE / 3 + SECOND)
        await resources.look_after()
    assert engine.closed


async def test_what_is_in_use_is_never_closed_for_idling(resources: Resources, clock: Clock) -> None:
    async with resources.use("engine") as engine:
        clock.advance(10 * MAX_IDLE)
        await resources.look_after()
        assert not engine.closed
    await resources.look_after()
    assert not engine.closed  # it idles since just now


async def test_closing_that_fails_or_hangs_costs_nobody_anything(
    resources: Resources, works: Works, clock: Clock
) -> None:
    first = await use(resources)
    works.close_fails = OSError("stuck")
    clock.advance(2 * MAX_IDLE)
    await resources.look_after()
    assert await use(resources) is not first
    assert crashes(resources) == (True, 0, "")


# Crashes


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("reset"),
        asyncio.CancelledError("by itself"),
        KeyboardInterrupt("not ours"),
        SystemExit(3),
    ],
)
async def test_a_ping_that_raises_anything_is_a_crash_and_the_next_use_starts_anew(
    resources: Resources, works: Works, error: BaseException
) -> None:
    first = await use(resources)
    works.ping_fails = error
    await resources.look_after()
    assert crashes(resources) == (False, 1, f"{type(error).__name__}: {error}")
    assert first.closed
    assert len(works.made) == 1
    assert await use(resources) is works.made[1]


async def test_a_ping_that_hangs_is_a_crash(resources: Resources, works: Works) -> None:
    await use(resources)
    works.answers.clear()
    async with asyncio.timeout(5):
        await resources.look_after()
    assert crashes(resources) == (False, 1, "TimeoutError: no answer within 50 ms")


async def test_a_cancelled_look_is_cancelled_and_is_no_crash(resources: Resources, works: Works) -> None:
    await use(resources)
    works.answers.clear()
    looking = asyncio.create_task(resources.look_after())
    await works.asked.wait()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert crashes(resources) == (True, 0, "")


async def test_one_that_crashes_does_not_keep_the_others_from_being_looked_after(clock: Clock) -> None:
    all_works = [Works() for _ in range(3)]
    resources = Resources(*(resource(works, f"engine-{n}") for n, works in enumerate(all_works)), now=clock)
    for n in range(3):
        await use(resources, f"engine-{n}")
    all_works[0].ping_fails = SystemExit(1)
    all_works[1].answers.clear()
    await resources.look_after()
    assert [works.pings for works in all_works] == [1, 1, 1]
    assert [told["alive"] for told in resources.report()] == [False, False, True]
    await resources.close()


async def test_what_crashed_in_use_is_closed_when_its_last_user_leaves(
    resources: Resources, works: Works
) -> None:
    async with resources.use("engine") as engine:
        async with resources.use("engine") as same:
            assert same is engine
            works.ping_fails = ConnectionError("reset")
            await resources.look_after()
            works.ping_fails = None
            assert await use(resources) is works.made[1]
        assert not engine.closed
    assert engine.closed
    assert not works.made[1].closed


async def test_what_keeps_crashing_rests_longer_each_time_until_it_answers(
    resources: Resources, works: Works, clock: Clock
) -> None:
    works.ping_fails = ConnectionError("reset")
    await use(resources)
    await resources.look_after()
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        await use(resources)
        await resources.look_after()
        with pytest.raises(ResourceResting) as resting:
            await use(resources)
        assert resting.value.retry_after == timedelta(seconds=seconds)
        clock.advance(timedelta(seconds=seconds))

    works.ping_fails = None
    await use(resources)
    await resources.look_after()
    works.ping_fails = ConnectionError("reset")
    await resources.look_after()
    assert isinstance(await use(resources), Engine)  # one crash after an answer is the first again


async def test_a_resting_resource_is_not_started_however_often_it_is_wanted(
    resources: Resources, works: Works
) -> None:
    works.start_fails = OSError("no such program")
    for _ in range(2):
        with pytest.raises(OSError, match="no such program"):
            await use(resources)
    for _ in range(100):
        with pytest.raises(ResourceResting, match="crashed 2 times in a row and rests for 1 s"):
            await use(resources)
    assert crashes(resources)[1] == 2


@pytest.mark.parametrize(
    "said",
    [
        "cannot reach redis://:hunter2@10.0.0.1:6379/0",
        "refused https://me:hunter2@model.example/v1",
        "401 for Authorization: Bearer hunter2",
        "api_key=hunter2 is wrong",
        'sent {"token": "hunter2"}',
    ],
)
async def test_no_secret_is_told_with_a_crash(resources: Resources, works: Works, said: str) -> None:
    await use(resources)
    works.ping_fails = ConnectionError(said * 9)
    await resources.look_after()
    assert "hunter2" not in crashes(resources)[2]
    assert len(crashes(resources)[2]) <= 200


async def test_closing_everything_closes_what_is_alive(resources: Resources) -> None:
    engine = await use(resources)
    await resources.close()
    assert engine.closed
    assert crashes(resources)[0] is False


# Rules


@given(st.lists(st.one_of(st.just("answers"), st.floats(0, 1000)), max_size=30))
def test_a_rest_never_exceeds_the_longest_pause_nor_shrinks_while_crashes_go_on(
    story: list[str | float],
) -> None:
    history, now, before = Crashes(), STARTS, timedelta(0)
    for event in story:
        if event == "answers":
            history, before = Crashes(history.count, 0, history.last, history.why), timedelta(0)
            assert history.rest(now) == timedelta(0)
            continue
        now += timedelta(seconds=float(event))
        history = history.add("why", now)
        rest = history.rest(now)
        assert before <= rest <= LONGEST_PAUSE
        assert history.rest(now + rest) == timedelta(0)
        before = rest


def test_the_clock_of_resources_tells_the_time() -> None:
    assert abs(steady_now() - datetime.now(UTC)) < timedelta(minutes=1)
