"""An endpoint that fails is left alone, tried with one call, and trusted again when that goes well."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import Overloaded
from nightshift.llm.breaker import RULES, Breaker
from nightshift.store.events import read_events
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def breaker(redis: Redis, keys: Keys, clock: Clock) -> Breaker:
    return Breaker(redis, keys, clock=clock)


async def rest(breaker: Breaker, endpoint: str = "main") -> timedelta:
    """How long the endpoint is left alone; not at all if a call is let through."""
    try:
        await breaker.allow(endpoint)
    except Overloaded as error:
        return error.retry_after or timedelta.max
    return timedelta(0)


async def record(breaker: Breaker, pattern: str, endpoint: str = "main") -> None:
    for went in pattern:
        await breaker.record(endpoint, went == "+")


@pytest.mark.parametrize(
    ("pattern", "opens"),
    [
        ("-" * 9, False),  # too few to judge
        ("-" * 10, True),
        ("+-" * 5, True),  # half
        ("+" * 6 + "-" * 5, False),  # less than half
        ("+" * 100 + "-" * 99, False),
        ("-" * 9 + "+", False),  # a call that goes well opens nothing
    ],
)
async def test_it_opens_once_half_of_enough_calls_fail(breaker: Breaker, pattern: str, opens: bool) -> None:
    await record(breaker, pattern)
    assert await rest(breaker) == (RULES.pause if opens else timedelta(0))
    assert await rest(breaker, "other") == timedelta(0)


async def test_calls_of_more_than_a_minute_ago_count_no_more(breaker: Breaker, clock: Clock) -> None:
    await record(breaker, "-" * 9)
    clock.move(seconds=61)
    await record(breaker, "-" * 9)
    assert await rest(breaker) == timedelta(0)
    clock.move(seconds=45)
    await record(breaker, "-")
    assert await rest(breaker) == RULES.pause


async def test_after_the_pause_one_call_is_let_through_and_decides(
    breaker: Breaker, clock: Clock, redis: Redis, keys: Keys
) -> None:
    await record(breaker, "-" * 10)
    assert await breaker.pause("main") == RULES.pause
    pauses = []
    for _ in range(7):
        pause = await rest(breaker)
        pauses.append(pause.total_seconds())
        await record(breaker, "+-")  # what was called before the pause says nothing
        assert await rest(breaker) == pause
        clock.now += pause
        assert await breaker.pause("main") == timedelta(0), "whoever looks makes no trial of it"
        assert await rest(breaker) == timedelta(0)
        assert await rest(breaker) == RULES.trial, "one at a time"
        await record(breaker, "-")
    assert pauses == [30, 60, 120, 240, 480, 600, 600]

    clock.now += await rest(breaker)
    assert await rest(breaker) == timedelta(0)
    await record(breaker, "+")
    assert await rest(breaker) == timedelta(0)
    assert await breaker.pause("main") is None
    await record(breaker, "-" * 10)
    assert await rest(breaker) == RULES.pause, "trusted again, so the first pause is short again"
    types = [event.type for event in await read_events(redis, keys, after="0", limit=99)]
    assert types == ["breaker_opened"] * 8 + ["breaker_closed", "breaker_opened"]


async def test_a_trial_that_is_never_heard_of_is_followed_by_another(breaker: Breaker, clock: Clock) -> None:
    await record(breaker, "-" * 10)
    clock.now += RULES.pause
    assert await rest(breaker) == timedelta(0)
    clock.now += RULES.trial
    assert await rest(breaker) == timedelta(0)
