"""Keys are used in turn, rest until they may be well again, and are never told of by themselves."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.errors import BadKeys, RateLimited
from nightshift.keys import Keys
from nightshift.llm.keypool import (
    COOLING,
    NO_CREDIT,
    OK,
    QUOTA_EXHAUSTED,
    UNAUTHORIZED,
    WELL,
    KeyEvent,
    KeyPool,
    KeyState,
    key_id,
    next_pacific_midnight,
    rate_limited,
)
from tests.nightshift.runs.model import Clock

FIRST, SECOND, THIRD = "sk-canary-one", "sk-canary-two", "sk-canary-three"


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def secrets() -> list[str]:
    """What the file holds now."""
    return [FIRST, SECOND, THIRD]


@pytest.fixture
def pool(redis: Redis, keys: Keys, secrets: list[str], clock: Clock) -> KeyPool:
    return KeyPool(redis, keys, lambda: secrets, clock=clock)


async def pick(pool: KeyPool, times: int) -> list[str]:
    return [(await pool.pick()).secret for _ in range(times)]


async def states(pool: KeyPool) -> list[KeyState]:
    return [row.state for row in await pool.rows()]


async def test_keys_are_used_in_turn_however_many_ask_at_once(pool: KeyPool, secrets: list[str]) -> None:
    assert await pick(pool, 6) == secrets * 2
    picked = await asyncio.gather(*(pool.pick() for _ in range(30)))
    assert [sum(key.secret == secret for key in picked) for secret in secrets] == [10, 10, 10]


async def test_a_key_that_comes_later_is_used_and_one_that_goes_is_forgotten(
    pool: KeyPool, secrets: list[str], redis: Redis, keys: Keys
) -> None:
    secrets[:] = [FIRST, SECOND]
    await pick(pool, 20)
    secrets.append(THIRD)
    assert await pick(pool, 4) == [THIRD, FIRST, SECOND, THIRD], "it does not make up for the time before"
    for _ in range(2):
        await pool.report(key_id(FIRST), UNAUTHORIZED)
    secrets.remove(FIRST)
    assert await pick(pool, 2) == [SECOND, THIRD]
    assert set(await redis.hkeys(keys.key_pool("main"))) == {key_id(SECOND), key_id(THIRD)}
    secrets.append(FIRST)
    assert FIRST in await pick(pool, 3)


@pytest.mark.parametrize(
    ("event", "state", "rest"),
    [
        (rate_limited(timedelta(seconds=7)), KeyState.COOLING, timedelta(seconds=7)),
        (rate_limited(None), KeyState.COOLING, COOLING),
        # Noon UTC in November: it is four in the morning in California.
        (QUOTA_EXHAUSTED, KeyState.EXHAUSTED, timedelta(hours=20)),
    ],
)
async def test_a_key_rests_as_long_as_it_must_while_others_are_used(
    pool: KeyPool, secrets: list[str], clock: Clock, event: KeyEvent, state: KeyState, rest: timedelta
) -> None:
    await pool.report(key_id(FIRST), event)
    assert (await states(pool))[0] is state
    assert FIRST not in await pick(pool, 4)
    await pool.report(key_id(FIRST), OK)
    assert FIRST not in await pick(pool, 4), "what was asked before it had to rest says nothing"
    for secret in (SECOND, THIRD):
        await pool.report(key_id(secret), event)
    clock.move(seconds=1)
    with pytest.raises(RateLimited, match="all 3 keys of endpoint 'main' rest") as refused:
        await pool.pick()
    assert refused.value.retry_after == rest - timedelta(seconds=1)
    clock.now += rest
    assert set(await pick(pool, 3)) == set(secrets)
    assert await states(pool) == [KeyState.OK] * 3


async def test_a_short_rest_does_not_cut_a_long_one_short(pool: KeyPool) -> None:
    await pool.report(key_id(FIRST), QUOTA_EXHAUSTED)
    await pool.report(key_id(FIRST), rate_limited(timedelta(seconds=1)))
    assert (await states(pool))[0] is KeyState.EXHAUSTED


@pytest.mark.parametrize("event", [UNAUTHORIZED, NO_CREDIT])
async def test_a_key_refused_twice_in_a_row_is_tried_no_more_until_a_probe_finds_it_well(
    pool: KeyPool, secrets: list[str], clock: Clock, event: KeyEvent
) -> None:
    secrets[:] = [FIRST]
    for told in (event, OK, event):
        await pool.report(key_id(FIRST), told)
    assert await pick(pool, 1) == [FIRST], "refused twice, but not in a row"
    await pool.report(key_id(FIRST), event)
    clock.move(days=10)
    assert [(row.state, row.why) for row in await pool.rows()] == [(KeyState.INVALID, event.why)]
    with pytest.raises(BadKeys, match="none of the 1 keys of endpoint 'main' is accepted"):
        await pool.pick()
    assert [key.secret for key in await pool.unwell()] == [FIRST]
    await pool.report(key_id(FIRST), WELL)
    assert await pick(pool, 1) == [FIRST]
    assert await pool.unwell() == []


async def test_without_a_key_it_says_where_to_put_one(pool: KeyPool, secrets: list[str]) -> None:
    secrets.clear()
    with pytest.raises(BadKeys, match="set its key or keys_file"):
        await pool.pick()


async def test_no_key_is_ever_told(
    pool: KeyPool, redis: Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for event in (UNAUTHORIZED, UNAUTHORIZED, rate_limited(None), QUOTA_EXHAUSTED, OK):
        key = await pool.pick()
        await pool.report(key.id, event)
        told += [repr(key), str(key), f"{key}"]
    told += [repr(await pool.unwell()), repr(await pool.rows()), caplog.text]
    try:
        for secret in (FIRST, SECOND, THIRD):
            await pool.report(key_id(secret), QUOTA_EXHAUSTED)
        await pool.pick()
    except RateLimited as error:
        told.append(f"{error!r} {error}")
    async for name in redis.scan_iter(f"{keys.prefix}*"):
        kind = await redis.type(name)
        told += [name, str(await (redis.hgetall(name) if kind == "hash" else redis.xrange(name)))]
    assert len(told) > 18
    assert "canary" not in " ".join(told)
    assert key_id(FIRST) in " ".join(told), "which is how it is known"


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2026-01-15T12:00", "2026-01-16T08:00"),  # winter
        ("2026-07-15T12:00", "2026-07-16T07:00"),  # summer
        ("2026-07-15T06:59", "2026-07-15T07:00"),
        ("2026-07-15T07:00", "2026-07-16T07:00"),  # at midnight itself the quota is new
        ("2026-03-08T08:00", "2026-03-09T07:00"),  # the day that has 23 hours, from its midnight
        ("2026-03-08T07:59", "2026-03-08T08:00"),
        ("2026-11-01T07:00", "2026-11-02T08:00"),  # the day that has 25
        ("2026-11-01T06:59", "2026-11-01T07:00"),
        ("2026-11-01T09:30", "2026-11-02T08:00"),  # 01:30 there, for the second time
    ],
)
def test_quotas_begin_anew_at_midnight_in_california(now: str, midnight: str) -> None:
    asked = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert next_pacific_midnight(asked) == datetime.fromisoformat(midnight).replace(tzinfo=UTC)
