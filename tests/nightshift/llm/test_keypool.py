"""Keys are used in turn, rest until they may be well again, and are never told of by themselves."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadKeys, RateLimited
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
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock

FIRST, SECOND, THIRD = "sk-canary-one", "sk-canary-two", "sk-canary-three"
MODEL, OTHER = "gemini-2.5-flash", "gemini-embedding-001"


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
    return [(await pool.pick(MODEL)).secret for _ in range(times)]


async def states(pool: KeyPool) -> list[KeyState]:
    return [row.state for row in await pool.rows()]


async def test_keys_are_used_in_turn_however_many_ask_at_once(pool: KeyPool, secrets: list[str]) -> None:
    assert await pick(pool, 6) == secrets * 2
    picked = await asyncio.gather(*(pool.pick(MODEL) for _ in range(30)))
    assert [sum(key.secret == secret for key in picked) for secret in secrets] == [10, 10, 10]


async def test_a_key_that_comes_later_is_used_and_one_that_goes_is_forgotten(
    pool: KeyPool, secrets: list[str], redis: Redis, keys: Keys
) -> None:
    secrets[:] = [FIRST, SECOND]
    await pick(pool, 20)
    secrets.append(THIRD)
    assert await pick(pool, 4) == [THIRD, FIRST, SECOND, THIRD], "it does not make up for the time before"
    for _ in range(2):
        await pool.report(key_id(FIRST), UNAUTHORIZED, MODEL)
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
    await pool.report(key_id(FIRST), event, MODEL)
    assert (await states(pool))[0] is state
    assert FIRST not in await pick(pool, 4)
    await pool.report(key_id(FIRST), OK, MODEL)
    assert FIRST not in await pick(pool, 4), "what was asked before it had to rest says nothing"
    for secret in (SECOND, THIRD):
        await pool.report(key_id(secret), event, MODEL)
    clock.move(seconds=1)
    with pytest.raises(RateLimited, match=f"all 3 keys of endpoint 'main' rest for {MODEL}") as refused:
        await pool.pick(MODEL)
    assert refused.value.retry_after == rest - timedelta(seconds=1)
    clock.now += rest
    assert set(await pick(pool, 3)) == set(secrets)
    assert await states(pool) == [KeyState.OK] * 3


async def test_a_short_rest_does_not_cut_a_long_one_short(pool: KeyPool) -> None:
    await pool.report(key_id(FIRST), QUOTA_EXHAUSTED, MODEL)
    await pool.report(key_id(FIRST), rate_limited(timedelta(seconds=1)), MODEL)
    assert (await states(pool))[0] is KeyState.EXHAUSTED


async def test_a_key_rests_for_one_model_and_is_used_for_any_other(
    pool: KeyPool, secrets: list[str], clock: Clock
) -> None:
    secrets[:] = [FIRST]
    await pool.report(key_id(FIRST), QUOTA_EXHAUSTED, MODEL)
    with pytest.raises(RateLimited, match=MODEL):
        await pool.pick(MODEL)
    assert (await pool.pick(OTHER)).secret == FIRST
    await pool.report(key_id(FIRST), rate_limited(None), OTHER)
    assert [str(row) for row in await pool.rows()] == [f"exhausted for {MODEL} and cooling for {OTHER}"]
    assert [model for _, model in await pool.unwell()] == [MODEL, OTHER]

    await pool.report(key_id(FIRST), WELL, OTHER)
    assert (await pool.pick(OTHER)).secret == FIRST
    with pytest.raises(RateLimited, match=MODEL):
        await pool.pick(MODEL)
    assert [str(row) for row in await pool.rows()] == [f"exhausted for {MODEL}"]
    for _ in range(2):
        await pool.report(key_id(FIRST), UNAUTHORIZED, OTHER)
    for model in (MODEL, OTHER):
        with pytest.raises(BadKeys):
            await pool.pick(model)


@pytest.mark.parametrize("event", [UNAUTHORIZED, NO_CREDIT])
async def test_a_key_refused_twice_in_a_row_is_tried_no_more_whatever_it_meets_until_a_probe_finds_it_well(
    pool: KeyPool, secrets: list[str], clock: Clock, event: KeyEvent
) -> None:
    secrets[:] = [FIRST]
    for told in (event, OK, event):
        await pool.report(key_id(FIRST), told, MODEL)
    assert await pick(pool, 1) == [FIRST], "refused twice, but not in a row"
    await pool.report(key_id(FIRST), event, MODEL)
    await pool.report(key_id(FIRST), rate_limited(timedelta(seconds=1)), MODEL)
    clock.move(days=10)
    assert [(row.state, row.why) for row in await pool.rows()] == [(KeyState.INVALID, event.why)]
    with pytest.raises(BadKeys, match="none of the 1 keys of endpoint 'main' is accepted"):
        await pool.pick(MODEL)
    assert [(key.secret, model) for key, model in await pool.unwell()] == [(FIRST, "")]
    await pool.report(key_id(FIRST), WELL, MODEL)
    assert await pick(pool, 1) == [FIRST]
    assert await pool.unwell() == []


async def test_without_a_key_it_says_where_to_put_one(pool: KeyPool, secrets: list[str]) -> None:
    secrets.clear()
    with pytest.raises(BadKeys, match="set its key or keys_file"):
        await pool.pick(MODEL)


async def test_no_key_is_ever_told(
    pool: KeyPool, redis: Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for event in (UNAUTHORIZED, UNAUTHORIZED, rate_limited(None), QUOTA_EXHAUSTED, OK):
        key = await pool.pick(MODEL)
        await pool.report(key.id, event, MODEL)
        told += [repr(key), str(key), f"{key}"]
    told += [repr(await pool.unwell()), repr(await pool.rows()), caplog.text]
    try:
        for secret in (FIRST, SECOND, THIRD):
            await pool.report(key_id(secret), QUOTA_EXHAUSTED, MODEL)
        await pool.pick(MODEL)
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
