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


def part(works: Works, name: str = "engine") -> Resource[Engine]:
    return Resource(
        name, works.start, works.ping, works.close, MAX_IDLE, start_within=SECOND, answer_within=AT_ONCE
    )


@pytest.fixture
async def parts(works: Works, clock: Clock) -> AsyncIterator[Resources]:
    parts = Resources(part(works), now=clock)
    yield parts
    works.gate.set()
    works.answers.set()
    await parts.close()


async def use(parts: Resources, name: str = "engine") -> Engine:
    async with parts.use(name) as engine:
        assert isinstance(engine, Engine)
        return engine


def crashes(parts: Resources) -> tuple[bool, int, str]:
    (told,) = parts.report()
    return told["alive"], told["crashes"], told["why"]


# Starting


async def test_nothing_starts_before_it_is_used_and_then_it_is_kept(parts: Resources, works: Works) -> None:
    await parts.look_after()
    assert (works.made, works.pings) == ([], 0)
    assert await use(parts) is await use(parts)
    (told,) = parts.report()
    assert (told["name"], told["alive"], told["uses"]) == ("engine", True, 2)


async def test_uses_that_come_together_start_it_once(parts: Resources, works: Works) -> None:
    works.gate.clear()
    together = [asyncio.create_task(use(parts)) for _ in range(10)]
    await asyncio.sleep(0)
    works.gate.set()
    assert set(await asyncio.gather(*together)) == {works.made[0]}
    assert len(works.made) == 1


async def test_whoever_gives_up_waiting_for_a_start_leaves_it_to_the_next(
    parts: Resources, works: Works
) -> None:
    works.gate.clear()
    impatient, patient = asyncio.create_task(use(parts)), asyncio.create_task(use(parts))
    await asyncio.sleep(0)
    impatient.cancel()
    works.gate.set()
    assert await patient is works.made[0]
    assert crashes(parts) == (True, 0, "")


async def test_a_start_that_failed_is_tried_again_by_the_next_use(parts: Resources, works: Works) -> None:
    works.start_fails = OSError("no such program")
    with pytest.raises(OSError, match="no such program"):
        await use(parts)
    assert crashes(parts) == (False, 1, "OSError: no such program")
    works.start_fails = None
    assert await use(parts) is works.made[0]


async def test_a_start_that_hangs_is_given_up(works: Works, clock: Clock) -> None:
    hanging = Resource("engine", works.start, works.ping, works.close, start_within=AT_ONCE)
    parts = Resources(hanging, now=clock)
    works.gate.clear()
    with pytest.raises(Overloaded, match="'engine' has not started within"):
        await use(parts)
    assert crashes(parts)[:2] == (False, 1)


async def test_what_can_never_start_says_so_each_time_and_counts_as_no_crash(
    parts: Resources, works: Works
) -> None:
    works.start_fails = BadSetting("no model is set; set NIGHTSHIFT_MODEL__URL")
    for _ in range(5):
        with pytest.raises(BadSetting, match="no model is set"):
            await use(parts)
    assert crashes(parts) == (False, 0, "")


def test_a_name_is_registered_once(works: Works) -> None:
    with pytest.raises(NotPossible, match="'engine' is registered twice"):
        Resources(part(works), part(works))


async def test_a_name_nobody_registered_is_refused_with_those_that_are(parts: Resources) -> None:
    with pytest.raises(NotPossible, match="'motor'; those registered: engine"):
        async with parts.use("motor"):
            pass


# Idling


async def test_what_idles_for_longer_than_it_may_is_closed_and_starts_anew_when_used(
    parts: Resources, works: Works, clock: Clock
) -> None:
    first = await use(parts)
    clock.advance(MAX_IDLE)
    await parts.look_after()
    assert not first.closed
    clock.advance(SECOND)
    await parts.look_after()
    assert first.closed
    assert crashes(parts) == (False, 0, "")
    assert await use(parts) is not first


async def test_a_ping_is_no_use(parts: Resources, works: Works, clock: Clock) -> None:
    engine = await use(parts)
    for _ in range(3):
        clock.advance(MAX_IDLE / 3 + SECOND)
        await parts.look_after()
    assert engine.closed


async def test_what_is_in_use_is_never_closed_for_idling(parts: Resources, clock: Clock) -> None:
    async with parts.use("engine") as engine:
        clock.advance(10 * MAX_IDLE)
        await parts.look_after()
        assert not engine.closed
    await parts.look_after()
    assert not engine.closed  # it idles since just now


async def test_closing_that_fails_or_hangs_costs_nobody_anything(
    parts: Resources, works: Works, clock: Clock
) -> None:
    first = await use(parts)
    works.close_fails = OSError("stuck")
    clock.advance(2 * MAX_IDLE)
    await parts.look_after()
    assert await use(parts) is not first
    assert crashes(parts) == (True, 0, "")


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
    parts: Resources, works: Works, error: BaseException
) -> None:
    first = await use(parts)
    works.ping_fails = error
    await parts.look_after()
    assert crashes(parts) == (False, 1, f"{type(error).__name__}: {error}")
    assert first.closed
    assert len(works.made) == 1
    assert await use(parts) is works.made[1]


async def test_a_ping_that_hangs_is_a_crash(parts: Resources, works: Works) -> None:
    await use(parts)
    works.answers.clear()
    async with asyncio.timeout(5):
        await parts.look_after()
    assert crashes(parts) == (False, 1, "TimeoutError: no answer within 50 ms")


async def test_a_cancelled_look_is_cancelled_and_is_no_crash(parts: Resources, works: Works) -> None:
    await use(parts)
    works.answers.clear()
    looking = asyncio.create_task(parts.look_after())
    await works.asked.wait()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert crashes(parts) == (True, 0, "")


async def test_one_that_crashes_does_not_keep_the_others_from_being_looked_after(clock: Clock) -> None:
    all_works = [Works() for _ in range(3)]
    parts = Resources(*(part(works, f"engine-{n}") for n, works in enumerate(all_works)), now=clock)
    for n in range(3):
        await use(parts, f"engine-{n}")
    all_works[0].ping_fails = SystemExit(1)
    all_works[1].answers.clear()
    await parts.look_after()
    assert [works.pings for works in all_works] == [1, 1, 1]
    assert [told["alive"] for told in parts.report()] == [False, False, True]
    await parts.close()


async def test_what_crashed_in_use_is_closed_when_its_last_user_leaves(
    parts: Resources, works: Works
) -> None:
    async with parts.use("engine") as engine:
        async with parts.use("engine") as same:
            await parts.report_crash("engine", same, ConnectionError("reset"))
            assert await use(parts) is works.made[1]
        assert not engine.closed
    assert engine.closed
    assert not works.made[1].closed


async def test_many_reports_of_one_life_are_one_crash_and_late_ones_none(parts: Resources) -> None:
    first = await use(parts)
    for _ in range(3):
        await parts.report_crash("engine", first, ConnectionError("reset"))
    second = await use(parts)
    await parts.report_crash("engine", first, ConnectionError("reset"))
    assert await use(parts) is second
    assert crashes(parts)[1] == 1


async def test_a_crash_that_a_user_reports_during_a_ping_counts_once(parts: Resources, works: Works) -> None:
    engine = await use(parts)
    works.answers.clear()
    looking = asyncio.create_task(parts.look_after())
    await works.asked.wait()
    await parts.report_crash("engine", engine, ConnectionError("reset"))
    second = await use(parts)
    await looking
    assert crashes(parts) == (True, 1, "ConnectionError: reset")
    assert not second.closed


async def test_what_keeps_crashing_rests_longer_each_time_until_it_answers(
    parts: Resources, works: Works, clock: Clock
) -> None:
    works.ping_fails = ConnectionError("reset")
    await use(parts)
    await parts.look_after()
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        await use(parts)
        await parts.look_after()
        with pytest.raises(ResourceResting) as resting:
            await use(parts)
        assert resting.value.retry_after == timedelta(seconds=seconds)
        clock.advance(timedelta(seconds=seconds))

    works.ping_fails = None
    await use(parts)
    await parts.look_after()
    works.ping_fails = ConnectionError("reset")
    await parts.look_after()
    assert isinstance(await use(parts), Engine)  # one crash after an answer is the first again


async def test_a_resting_part_is_not_started_however_often_it_is_wanted(
    parts: Resources, works: Works
) -> None:
    works.start_fails = OSError("no such program")
    for _ in range(2):
        with pytest.raises(OSError, match="no such program"):
            await use(parts)
    for _ in range(100):
        with pytest.raises(ResourceResting, match="crashed 2 times in a row and rests for 1 s"):
            await use(parts)
    assert crashes(parts)[1] == 2


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
async def test_no_secret_is_told_with_a_crash(parts: Resources, said: str) -> None:
    engine = await use(parts)
    await parts.report_crash("engine", engine, ConnectionError(said * 9))
    assert "hunter2" not in crashes(parts)[2]
    assert len(crashes(parts)[2]) <= 200


async def test_closing_everything_closes_what_is_alive(parts: Resources) -> None:
    engine = await use(parts)
    await parts.close()
    assert engine.closed
    assert crashes(parts)[0] is False


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


def test_the_clock_of_parts_tells_the_time() -> None:
    assert abs(steady_now() - datetime.now(UTC)) < timedelta(minutes=1)
