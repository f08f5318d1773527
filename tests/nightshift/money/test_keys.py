"""The scripts about money and ``Keys`` name the same things."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import OutOfBudget
from nightshift.llm.breaker import Breaker
from nightshift.llm.keypool import KeyPool
from nightshift.money.caps import Caps
from nightshift.money.payer import Level, Payer
from nightshift.runs.ledger import DAYS_BEFORE_1970
from nightshift.store.keys import Keys
from tests.nightshift.money.conftest import NewPurse
from tests.nightshift.runs.model import Clock

ANN = Payer("run@1", "prompt:1")


async def test_every_key_the_scripts_leave_is_one_that_keys_builds(
    redis: Redis, keys: Keys, clock: Clock, new_purse: NewPurse, new_caps: Callable[..., Caps]
) -> None:
    purse = new_purse(day="0.0001")
    held = await purse.reserve(ANN, model="flash", ceiling=100, use="chat")
    await purse.settle(held, cost=60, tokens_in=1, tokens_out=1)
    held = await purse.reserve(ANN, model="flash", ceiling=30)
    with pytest.raises(OutOfBudget):
        await purse.reserve(ANN, model="flash", ceiling=30)
    await new_caps().set(Level.DAY, "", 5, by="ann")
    await Breaker(redis, keys).record("main", ok=False)
    await KeyPool(redis, keys, lambda: ["key"], "gemini").pick("flash")

    today = clock.now.toordinal() - DAYS_BEFORE_1970
    assert {key async for key in redis.scan_iter(f"{keys.prefix}*")} == {
        keys.book(today),
        keys.spent_by("run@1"),
        keys.reserved,
        keys.hold(held.id),
        keys.holds,
        keys.warned(today),
        keys.caps,
        keys.costs_of_runs("prompt:1"),
        keys.costs_of_calls("chat"),
        keys.breaker("main"),
        keys.key_pool("gemini"),
        keys.total,
        keys.events,
        *[key async for key in redis.scan_iter(f"{keys.root}money:hold:*")],
    }
