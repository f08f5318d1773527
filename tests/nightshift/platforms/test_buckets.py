from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from nightshift.base.errors import RateLimited
from nightshift.platforms.buckets import MANY, Buckets

ROUTE, OTHER = "POST/channels/1/messages", "POST/channels/2/messages"


def told(size: int, left: int, refills_in: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(size),
        "X-RateLimit-Remaining": str(left),
        "X-RateLimit-Reset-After": str(refills_in),
    }


async def test_an_empty_bucket_is_waited_for_and_others_are_not() -> None:
    loop, buckets = asyncio.get_running_loop(), Buckets()
    buckets.learn(ROUTE, 200, told(5, 0, 0.05))
    begun = loop.time()
    await buckets.take(ROUTE)
    assert loop.time() - begun >= 0.045
    buckets.learn(ROUTE, 200, told(5, 0, 3600))
    await buckets.take(OTHER)


async def test_many_at_once_take_no_more_than_there_is() -> None:
    loop, buckets = asyncio.get_running_loop(), Buckets()
    begun = loop.time()
    buckets.learn(ROUTE, 200, told(2, 2, 0.05))

    async def wait() -> float:
        await buckets.take(ROUTE)
        return loop.time() - begun

    waits = sorted(await asyncio.gather(*(wait() for _ in range(6))))
    assert waits[1] < waits[2] >= 0.045
    assert waits[4] >= 0.095


async def test_answers_that_overtake_each_other_give_nothing_back() -> None:
    buckets = Buckets()
    buckets.learn(ROUTE, 200, told(5, 1, 3600))
    await buckets.take(ROUTE)
    buckets.learn(ROUTE, 200, told(5, 4, 3600))  # of a request that was answered late
    with pytest.raises(RateLimited):
        await buckets.take(ROUTE)


async def test_nobody_is_kept_waiting_for_long_but_told_when_to_come_back() -> None:
    buckets = Buckets()
    buckets.learn(ROUTE, 429, {"Retry-After": "60"})
    with pytest.raises(RateLimited) as raised:
        await buckets.take(ROUTE)
    assert raised.value.retry_after
    assert timedelta(seconds=59) < raised.value.retry_after <= timedelta(seconds=60)
    await buckets.take(OTHER)


async def test_the_limit_of_all_holds_for_all() -> None:
    buckets = Buckets()
    buckets.learn(ROUTE, 429, {"Retry-After": "60", "X-RateLimit-Global": "true"})
    with pytest.raises(RateLimited):
        await buckets.take(OTHER)


async def test_headers_that_make_no_sense_limit_nothing() -> None:
    buckets = Buckets()
    for nonsense in (
        {},
        told(5, 0, -1),
        {"X-RateLimit-Remaining": "0"},
        told(5, 0, 0) | {"X-RateLimit-Limit": "?"},
    ):
        buckets.learn(ROUTE, 200, nonsense)
        async with asyncio.timeout(1):
            await buckets.take(ROUTE)


async def test_routes_that_are_full_again_are_forgotten() -> None:
    buckets = Buckets()
    for number in range(3 * MANY):
        buckets.learn(f"GET/channels/{number}", 200, told(5, 4, 0))
    assert len(vars(buckets)["_buckets"]) <= MANY
