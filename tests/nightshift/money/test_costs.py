"""Who spent what, on which days, and what the day will have cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.money.budget import Account, read_budget
from nightshift.money.caps import Caps
from nightshift.money.costs import CostRow, read_books, read_costs
from nightshift.money.forecast import Forecast, read_forecast
from nightshift.money.payer import Level, Listed, Occasion, Payer
from nightshift.money.purse import LEASE, Purse
from nightshift.runs.ledger import Ledger
from nightshift.schedules.schedule import Schedule, put_schedules
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from nightshift.time.cadence import every
from tests.nightshift.money.conftest import NewPurse
from tests.nightshift.runs.model import Clock

ANN = Payer("run@1", "prompt:1", "ann", "helper", "discord:42", Occasion.PERSON)


async def spend(purse: Purse, cost: int, payer: Payer = ANN, model: str = "flash") -> None:
    held = await purse.reserve(payer, model=model, ceiling=cost)
    await purse.settle(held, cost=cost, tokens_in=100, tokens_out=10)


async def test_costs_are_listed_by_name_the_dearest_first_and_add_up_to_all(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    purse = new_purse()
    await spend(purse, 5)
    clock.move(days=1)
    await spend(purse, 7, replace(ANN, agent="other"))
    await spend(purse, 1, replace(ANN, agent=""), model="chat")
    today = clock.now.date()

    async def listed(by: Listed, days: int = 30) -> list[tuple[str, int, int]]:
        rows = await read_costs(redis, keys, by, until=today, days=days)
        return [(row.name, row.cost, row.calls) for row in rows]

    assert await listed(Listed.AGENT) == [("other", 7, 1), ("helper", 5, 1), ("", 1, 1)]
    assert await listed(Listed.AGENT, days=1) == [("other", 7, 1), ("", 1, 1)]
    assert await listed(Listed.MODEL) == [("flash", 12, 2), ("chat", 1, 1)]
    assert await listed(Listed.DAY) == [("2026-11-21", 8, 2), ("2026-11-20", 5, 1)]
    assert await read_costs(redis, keys, Listed.TENANT, until=today, days=2) == [
        CostRow("ann", 13, 3, 300, 30)
    ]


async def test_a_run_that_says_nothing_is_counted_too(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    silent = replace(ANN, source="heartbeat:discord:42", kind=Occasion.HEARTBEAT)
    await spend(new_purse(), 3, silent)
    (row,) = await read_costs(redis, keys, Listed.JOB, until=clock.now.date(), days=1)
    assert (row.name, row.cost) == ("heartbeat", 3)


async def test_books_are_kept_for_thirteen_months(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    await spend(new_purse(), 3)
    kept = [await redis.ttl(key) async for key in redis.scan_iter(f"{keys.root}money:day:*")]
    assert kept == [400 * 86400]
    left = {key async for key in redis.scan_iter(f"{keys.root}money:*")}
    assert all([await redis.ttl(key) > 0 for key in left]), "nothing stays forever"


@pytest.mark.parametrize("spent_yesterday", [True, False])
async def test_a_forecast_counts_the_slots_to_come_and_lets_the_rest_go_on_at_its_pace(
    new_purse: NewPurse, ledger: Ledger, clock: Clock, spent_yesterday: bool
) -> None:
    purse, noon = new_purse(), clock.now
    hourly = Schedule("prompt:hourly", every(hours=1), "tasks.work", "agents")
    await put_schedules(ledger, [hourly], now=noon)
    row = f"{ledger.keys.beat_prefix}digest"
    await ledger.redis.hset(row, "cadence", json.dumps(every(hours=4).to_spec()))
    await ledger.redis.zadd(ledger.keys.beat_index, {row: noon.timestamp() + 1})
    if spent_yesterday:
        clock.move(days=-1)
        await spend(purse, 24_000, replace(ANN, source="heartbeat:a"))
        clock.now = noon
    for run, cost in enumerate((90, 110)):
        await spend(purse, cost, replace(ANN, source="prompt:hourly", run=f"run@{run}"))
    await spend(purse, 1000, replace(ANN, source="job:digest"))
    await spend(purse, 12_000, replace(ANN, source="heartbeat:a"))

    today = noon.date()
    books = await read_books(ledger.redis, ledger.keys, [today, today - timedelta(days=1)])
    found = await read_forecast(ledger, noon, *books)
    slots = 11 * 100 + 2 * 1000  # until midnight, which is tomorrow's
    pace = 12_000  # 36,000 in 36 hours, or 12,000 in twelve: a thousand an hour
    assert found == Forecast(13_200 + slots + pace, 13_200, slots, pace)

    await ledger.redis.zrem(ledger.keys.due, "prompt:hourly")
    assert (await read_forecast(ledger, noon, *books)).slots == 2000, "what is not announced will not run"


async def test_an_empty_day_is_forecast_to_cost_nothing(ledger: Ledger, now: datetime) -> None:
    assert await read_forecast(ledger, now, {}, {}) == Forecast(0, 0, 0, 0)


async def test_the_budget_tells_who_spent_most_and_what_is_under_way(
    redis: Redis, keys: Keys, ledger: Ledger, new_caps: Callable[..., Caps]
) -> None:
    caps = new_caps(day=1, channel="0.5", only={"channel": {"discord:43": 0.25}})
    purse = Purse(redis, keys, caps)
    for channel, cost in (("discord:42", 10), ("discord:43", 30), ("discord:44", 20)):
        await spend(purse, cost, replace(ANN, channel=channel))
    await purse.reserve(replace(ANN, channel="discord:42"), model="flash", ceiling=7)
    past = Clock(await store_now(redis) - LEASE)
    await Purse(redis, keys, caps, clock=past).reserve(ANN, model="flash", ceiling=100)

    found = await read_budget(ledger, caps, top=2)
    assert found.day == Account(Level.DAY, "", 60, 7, 1_000_000), "what lapsed is reserved no more"
    assert [each for each in found.by if each.level is Level.CHANNEL] == [
        Account(Level.CHANNEL, "discord:43", 30, 0, 250_000),
        Account(Level.CHANNEL, "discord:44", 20, 0, 500_000),
    ]
    assert [each.name for each in found.by if each.level is Level.TENANT] == ["ann"]
    assert found.forecast.spent == 60
