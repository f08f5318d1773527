"""Money is reserved before a call and settled after it, and no cap is ever exceeded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import Frozen, OutOfBudget, OverRunCap
from nightshift.controls.freeze import Freeze
from nightshift.money.caps import LARGEST, Caps
from nightshift.money.costs import NOTHING, Spent, read_books
from nightshift.money.payer import Level, Occasion, Payer
from nightshift.money.purse import LEASE, SOON, SPREAD, Hold, Purse
from nightshift.money.settings import BudgetSettings
from nightshift.store.client import new_client, store_now
from nightshift.store.events import Event, read_events
from nightshift.store.keys import Keys
from tests.nightshift.money.conftest import NewPurse
from tests.nightshift.runs.model import Clock

ANN = Payer("run@1", "prompt:1", "ann", "helper", "discord:42", Occasion.PERSON)


async def reserve(purse: Purse, payer: Payer = ANN, ceiling: int = 100) -> Hold:
    return await purse.reserve(payer, model="flash", ceiling=ceiling)


async def spend(purse: Purse, cost: int, payer: Payer = ANN) -> None:
    await purse.settle(await reserve(purse, payer, cost), cost=cost, tokens_in=10, tokens_out=1)


async def spent_on(redis: Redis, keys: Keys, day: date, level: Level = Level.DAY, name: str = "") -> Spent:
    (book,) = await read_books(redis, keys, [day])
    return book.get((level, name), NOTHING)


async def events(redis: Redis, keys: Keys, type: str) -> list[Event]:
    return [event for event in await read_events(redis, keys, after="0", limit=1000) if event.type == type]


# Caps


async def test_a_fresh_install_may_spend_a_dollar_a_day(redis: Redis, keys: Keys, clock: Clock) -> None:
    purse = Purse(redis, keys, Caps(redis, keys, BudgetSettings()), clock=clock)
    await spend(purse, 1_000_000)
    with pytest.raises(OutOfBudget, match=r"everybody has spent \$1 today, and the cap is \$1"):
        await reserve(purse, ceiling=1)
    clock.move(days=1)
    await reserve(purse, ceiling=1_000_000)


@pytest.mark.parametrize("ceiling", [0, 1, 100])
async def test_a_cap_of_nothing_lets_nothing_through_not_even_what_is_free(
    new_purse: NewPurse, ceiling: int
) -> None:
    with pytest.raises(OutOfBudget, match=r"the cap is \$0"):
        await reserve(new_purse(day=0), ceiling=ceiling)


@pytest.mark.parametrize("level", [level for level in Level if level not in (Level.DAY, Level.RUN)])
async def test_every_level_has_caps_of_its_own_and_its_names_do_not_share_them(
    new_purse: NewPurse, level: Level
) -> None:
    purse = new_purse(**{level: "0.0001"})
    await spend(purse, 100)
    with pytest.raises(OutOfBudget, match=rf"{level} \S+ has spent \$0.0001 today"):
        await reserve(purse, ceiling=1)
    other = Payer("run@2", "mail:2", "ben", "other", "discord:43", Occasion.PERSON)
    await purse.reserve(other, model="chat", ceiling=100)


async def test_a_run_is_capped_in_all_and_no_waiting_helps(new_purse: NewPurse, clock: Clock) -> None:
    purse = new_purse(run="0.0001")
    held = await reserve(purse, ceiling=60)
    with pytest.raises(OutOfBudget) as busy:
        await reserve(purse, ceiling=60)
    assert busy.value.retry_after == SOON, "the other call may well cost less than was reserved"
    await purse.settle(held, cost=60, tokens_in=1, tokens_out=1)
    clock.move(days=1)
    with pytest.raises(OverRunCap, match=r"run run@1 has spent \$0.00006 in all"):
        await reserve(purse, ceiling=60)
    await reserve(purse, replace(ANN, run="run@2"), ceiling=60)


async def test_a_call_is_reserved_at_every_level_or_at_none(
    new_purse: NewPurse, redis: Redis, keys: Keys
) -> None:
    purse = new_purse(agent="0.0001")
    with pytest.raises(OutOfBudget):
        await reserve(purse, ceiling=101)
    assert not await redis.exists(keys.reserved, keys.holds)
    await reserve(purse, ceiling=100)
    assert await redis.hlen(keys.reserved) == len(ANN.levels("flash")) == len(Level)


async def test_who_is_out_of_budget_comes_back_after_midnight_and_not_all_at_once(
    new_purse: NewPurse, clock: Clock
) -> None:
    purse = new_purse(day="0.0001")
    await spend(purse, 100)
    pauses = set()
    for number in range(20):
        with pytest.raises(OutOfBudget) as refused:
            await reserve(purse, replace(ANN, run=f"run@{number}"))
        assert refused.value.retry_after
        pauses.add(refused.value.retry_after)
    midnight = timedelta(hours=12)
    assert midnight <= min(pauses) < max(pauses) < midnight + SPREAD
    assert len(pauses) > 15


async def test_caps_change_while_everything_runs(new_purse: NewPurse, new_caps: Callable[..., Caps]) -> None:
    purse, caps = new_purse(channel="0.0001", only={"channel": {"discord:43": "0.0002"}}), new_caps()

    async def room(channel: str) -> int:
        fits = 0
        for ceiling in (100, 200, 300):
            try:
                held = await reserve(purse, replace(ANN, channel=channel), ceiling)
            except OutOfBudget:
                return fits
            await purse.release(held)
            fits = ceiling
        return fits

    async def rooms() -> tuple[int, int]:
        return await room("discord:42"), await room("discord:43")

    assert await rooms() == (100, 200), "as the settings say"
    await caps.set(Level.CHANNEL, "", 300, by="ann")
    assert await rooms() == (300, 200), "what is said of one counts before what is said of each"
    await caps.set(Level.CHANNEL, "discord:42", 200, by="ann")
    await caps.set(Level.CHANNEL, "discord:43", None, by="ann")
    assert await rooms() == (200, 300), "a cap of one may be lifted"
    await caps.set(Level.CHANNEL, "discord:43", 0, by="ann")
    assert await rooms() == (200, 0)
    for name in ("", "discord:42", "discord:43"):
        await caps.unset(Level.CHANNEL, name, by="ann")
    assert await rooms() == (100, 200), "the settings apply again"


async def test_work_is_shed_in_order_where_it_meets_other_work(new_purse: NewPurse) -> None:
    purse = new_purse(day="0.0001", source="0.0001")

    async def may_go_on() -> set[Occasion]:
        going = set()
        for kind in Occasion:
            try:
                await purse.release(await reserve(purse, replace(ANN, kind=kind, source=kind), 1))
            except OutOfBudget:
                continue
            going.add(kind)
        return going

    shed = []
    for cost in (84, 1, 5, 5, 5):
        await spend(purse, cost)
        shed.append(set(Occasion) - await may_go_on())
    assert shed == [
        set(),
        {Occasion.HEARTBEAT},
        {Occasion.HEARTBEAT, Occasion.MEMORY},
        {Occasion.HEARTBEAT, Occasion.MEMORY, Occasion.EVENT},
        set(Occasion),
    ]


async def test_a_source_alone_may_fill_its_own_cap_whatever_its_kind(new_purse: NewPurse) -> None:
    purse = new_purse(source="0.0001", run="0.0001", job="0.0001")
    await reserve(purse, replace(ANN, kind=Occasion.HEARTBEAT), 100)


# Telling


async def test_a_cap_that_is_near_or_reached_is_told_once_a_day(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    purse = new_purse(channel="0.0001", day=1)
    for day in (1, 2):
        await spend(purse, 79)
        assert len(await events(redis, keys, "budget_warned")) == day - 1
        await spend(purse, 1)
        await spend(purse, 1)
        for _ in range(3):
            with pytest.raises(OutOfBudget):
                await reserve(purse)
        for kind, spent in (("warned", "80"), ("blocked", "81")):
            told = await events(redis, keys, f"budget_{kind}")
            assert len(told) == day
            assert told[-1].facts == {
                "source": "budget:channel",
                "status": kind,
                "level": "channel",
                "name": "discord:42",
                "spent": spent,
                "cap": "100",
            }
        clock.move(days=1)


# Lapsing, repeating


async def test_money_of_who_crashed_comes_back_when_the_lease_ends(new_purse: NewPurse, clock: Clock) -> None:
    purse = new_purse(day="0.0001")
    await reserve(purse)
    clock.now += LEASE - timedelta(milliseconds=1)
    with pytest.raises(OutOfBudget) as refused:
        await reserve(purse)
    assert refused.value.retry_after == SOON
    clock.move(milliseconds=1)
    await reserve(purse)


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_settle_after_the_lapse_counts_once_and_takes_nobody_elses_room(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock, noticed: bool
) -> None:
    purse = new_purse(day="0.0002")
    late = await reserve(purse)
    clock.now += LEASE
    if noticed:
        await purse.release(await reserve(purse, ceiling=200))
    for _ in range(2):
        await purse.settle(late, cost=70, tokens_in=10, tokens_out=1)
    assert await spent_on(redis, keys, clock.now.date()) == Spent(70, 1, 10, 1)
    await reserve(purse, ceiling=130)
    with pytest.raises(OutOfBudget):
        await reserve(purse, ceiling=1)


async def test_a_settle_that_is_cut_short_is_made_up_for_by_the_next_who_reserves(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    purse = new_purse()
    hold = await reserve(purse)
    await redis.client_pause(60_000, all=False)
    settling = asyncio.create_task(purse.settle(hold, cost=60, tokens_in=10, tokens_out=1))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    await redis.client_unpause()
    await reserve(purse)
    assert await spent_on(redis, keys, clock.now.date()) == Spent(60, 1, 10, 1)


@pytest.mark.parametrize("end", ["settled", "released", "lapsed"])
async def test_a_call_to_a_model_that_is_free_is_counted_and_costs_nothing(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock, end: str
) -> None:
    purse = new_purse(day=100)
    hold = await reserve(purse, ceiling=0)
    if end == "released":
        await purse.release(hold)
    elif end == "lapsed":
        clock.move(seconds=LEASE.total_seconds() + 1)
    else:
        await purse.settle(hold, cost=0, tokens_in=10, tokens_out=1)
        assert await spent_on(redis, keys, clock.now.date()) == Spent(0, 1, 10, 1)
    await reserve(purse, ceiling=100)
    assert await redis.zcard(keys.holds) == 1


async def test_settling_twice_counts_once_and_releasing_after_it_nothing(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    purse = new_purse(day=1)
    held = await reserve(purse)
    for _ in range(3):
        await purse.settle(held, cost=70, tokens_in=10, tokens_out=1)
        await purse.release(held)
    released = await reserve(purse)
    await purse.release(released)
    await purse.settle(released, cost=70, tokens_in=10, tokens_out=1)
    assert await spent_on(redis, keys, clock.now.date()) == Spent(70, 1, 10, 1)
    assert not await redis.exists(keys.reserved, keys.holds)


async def test_a_call_across_midnight_counts_for_the_day_it_was_reserved_on(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    clock.now = datetime(2026, 11, 20, 23, 59, tzinfo=clock.now.tzinfo)
    purse = new_purse(day="0.0001")
    held = await reserve(purse)
    clock.move(minutes=2)
    whole = await reserve(purse)
    await purse.settle(held, cost=100, tokens_in=1, tokens_out=1)
    await purse.settle(whole, cost=90, tokens_in=1, tokens_out=1)
    assert (await spent_on(redis, keys, date(2026, 11, 20))).cost == 100
    assert (await spent_on(redis, keys, date(2026, 11, 21))).cost == 90
    assert not await redis.exists(keys.reserved)


async def test_what_cost_more_than_was_reserved_is_counted_all_the_same(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock
) -> None:
    purse = new_purse(day="0.0001")
    await purse.settle(await reserve(purse, ceiling=50), cost=150, tokens_in=1, tokens_out=1)
    assert (await spent_on(redis, keys, clock.now.date())).cost == 150
    with pytest.raises(OutOfBudget):
        await reserve(purse, ceiling=0)


# Whose


@pytest.mark.parametrize(
    "name",
    ["a b c", "12 channel x", "{s0}:*|%", 'with "quotes" \\ and /', "émoji 🌙\n", "-", "each", "\udce9"],
)
async def test_a_name_may_hold_anything(
    new_purse: NewPurse, redis: Redis, keys: Keys, clock: Clock, name: str
) -> None:
    purse = new_purse(channel="0.0001")
    payer = replace(ANN, channel=name, agent=name, source=name, run=name)
    await spend(purse, 70, payer)
    await reserve(purse, payer, 30)
    with pytest.raises(OutOfBudget):
        await reserve(purse, payer, 1)
    stored = name.encode(errors="replace").decode()
    for level in (Level.CHANNEL, Level.AGENT, Level.SOURCE):
        assert (await spent_on(redis, keys, clock.now.date(), level, stored)).cost == 70


@pytest.mark.parametrize(
    ("source", "job"),
    [
        ("job:channel_summarization", "channel_summarization"),
        ("heartbeat:discord:42", "heartbeat"),
        ("prompt:1", "prompt"),
        ("news", "news"),
    ],
)
def test_every_source_belongs_to_a_job_or_a_sort_of_work(source: str, job: str) -> None:
    assert replace(ANN, source=source).job == job


async def test_while_frozen_nothing_is_reserved(new_purse: NewPurse, redis: Redis, keys: Keys) -> None:
    freeze = Freeze(redis, keys)
    await freeze.freeze("ann", "too loud")
    with pytest.raises(Frozen, match=r"ann froze every call and send at .*: too loud"):
        await reserve(new_purse())
    await freeze.thaw("ann")
    await reserve(new_purse())


@pytest.mark.parametrize("ceiling", [-1, LARGEST + 1])
async def test_a_ceiling_that_no_call_can_have_is_refused(new_purse: NewPurse, ceiling: int) -> None:
    with pytest.raises(ValueError, match="micro-USD"):
        await reserve(new_purse(), ceiling=ceiling)


# Estimates


async def test_what_a_source_costs_is_told_from_its_last_twenty_runs_and_otherwise_from_the_use(
    new_purse: NewPurse,
) -> None:
    purse = new_purse()

    async def call(run: int, cost: int, source: str = "prompt:1") -> None:
        payer = replace(ANN, run=f"{source}@{run}", source=source)
        held = await purse.reserve(payer, model="flash", ceiling=cost, use="chat")
        await purse.settle(held, cost=cost, tokens_in=1, tokens_out=1)

    assert await purse.estimate("chat", "prompt:1") is None
    await call(0, 1_000_000)
    for run in range(1, 21):
        await call(run, 10)
        await call(run, 15)
    assert await purse.estimate("chat", "prompt:1") == 25, "a run's calls count together"
    await call(1, 1, "prompt:2")
    assert await purse.estimate("chat", "prompt:2") == 1
    assert await purse.estimate("chat", "prompt:3") == 13, "the mean of calls, rounded up"


# Crowds


async def test_500_calls_at_once_exceed_no_cap(
    redis: Redis, redis_socket: Path, keys: Keys, new_caps: Callable[..., Caps]
) -> None:
    day = (await store_now(redis)).date()

    async def call(number: int) -> int:
        payer = Payer(f"run@{number}", "prompt:1", f"t{number % 4}", "helper", f"discord:{number % 50}")
        try:
            held = await purse.reserve(payer, model="flash", ceiling=300)
        except OutOfBudget:
            return 0
        await asyncio.sleep(0)
        if number % 7 == 0:
            await purse.release(held)
            return 0
        await purse.settle(held, cost=250 + number % 50, tokens_in=1, tokens_out=1)
        return 250 + number % 50

    async with new_client(f"unix://{redis_socket}?db=0") as client:
        purse = Purse(client, keys, new_caps(day="0.1", tenant="0.03", channel="0.002"))
        costs = await asyncio.gather(*map(call, range(500)))
    books = await read_books(redis, keys, [day, day + timedelta(days=1)])
    book = max(books, key=len)
    assert book[Level.DAY, ""].cost == sum(costs)
    assert 60_000 < sum(costs) <= 100_000
    limits = {Level.DAY: 100_000, Level.TENANT: 30_000, Level.CHANNEL: 2_000}
    assert all(spent.cost <= limits.get(level, LARGEST) for (level, _), spent in book.items())
    assert max(spent.cost for (level, _), spent in book.items() if level is Level.CHANNEL) > 1_500
    assert not await redis.exists(keys.reserved, keys.holds)
