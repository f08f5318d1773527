"""Schedules in a real store: each slot is recorded once, whatever was missed is counted."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightshift.base.instants import to_ms
from nightshift.runs.ledger import DueSchedule, Ledger
from nightshift.runs.row import run_id
from nightshift.runs.states import Overlap
from nightshift.schedules.recording import record_due
from nightshift.schedules.schedule import Schedule, put_schedules, remove_schedule
from nightshift.store.client import text_hash
from nightshift.time.cadence import Cron, Every
from nightshift.time.misfire import Misfire

HOUR = timedelta(hours=1)


async def due(ledger: Ledger, schedule_id: str) -> DueSchedule:
    """The schedule as a look would hand it out."""
    score = await ledger.redis.zscore(ledger.keys.due, schedule_id)
    assert score is not None
    return DueSchedule(
        schedule_id, float(score), await text_hash(ledger.redis, ledger.keys.schedule(schedule_id))
    )


async def test_a_schedule_comes_back_from_the_store_as_it_was_put(ledger: Ledger, now: datetime) -> None:
    put = Schedule(
        "prompt:1",
        Cron("30 9 * * 1-5", "Europe/Berlin"),
        "tasks.some.thing",
        "agents",
        late=Misfire.SKIP,
        overlap=Overlap.ALLOW,
        deadline=timedelta(seconds=90),
        payload={"text": "good morning, {not: cypher} ☕"},
        agent="ada",
    )
    await put_schedules(ledger, [put], now=now)
    row = await text_hash(ledger.redis, ledger.keys.schedule("prompt:1"))
    assert Schedule.from_row(row) == put


async def test_a_slot_that_came_becomes_a_run_and_the_schedule_moves_on(
    ledger: Ledger, now: datetime
) -> None:
    schedule = Schedule("hourly", Every(HOUR, now), "tasks.some.thing", "agents", payload={"n": 1})
    await put_schedules(ledger, [schedule], now=now - HOUR)
    await record_due(ledger, [await due(ledger, "hourly")], now=now)
    row = await ledger.get(run_id("hourly", now))
    assert (row.task, row.queue, row.payload, row.lane) == ("tasks.some.thing", "agents", {"n": 1}, "hourly")
    assert (await due(ledger, "hourly")).score == to_ms(now + HOUR)


async def test_recording_the_same_slot_from_two_looks_makes_one_run(ledger: Ledger, now: datetime) -> None:
    await put_schedules(ledger, [Schedule("hourly", Every(HOUR, now), "t", "agents")], now=now - HOUR)
    seen = await due(ledger, "hourly")
    await record_due(ledger, [seen], now=now)
    await record_due(ledger, [seen], now=now)
    assert (await ledger.counts())["open"] == 1
    assert await ledger.skips("hourly") == []


async def test_slots_that_passed_unseen_are_counted_and_the_latest_runs(
    ledger: Ledger, now: datetime
) -> None:
    await put_schedules(ledger, [Schedule("hourly", Every(HOUR, now), "t", "agents")], now=now - HOUR)
    later = now + 5 * HOUR + timedelta(minutes=1)
    await record_due(ledger, [await due(ledger, "hourly")], now=later)
    assert [row.nominal for row in await ledger.open_runs()] == [now + 5 * HOUR]
    (skip,) = await ledger.skips("hourly")
    assert (skip.reason, skip.times, skip.nominal) == ("missed", 5, now)


async def test_all_passed_slots_run_in_order_where_the_schedule_says_so(
    ledger: Ledger, now: datetime
) -> None:
    each = Schedule("each", Every(HOUR, now), "t", "agents", late=Misfire.RUN_ALL)
    await put_schedules(ledger, [each], now=now - HOUR)
    await record_due(ledger, [await due(ledger, "each")], now=now + 2 * HOUR)
    assert {row.nominal for row in await ledger.open_runs()} == {now, now + HOUR, now + 2 * HOUR}
    assert await ledger.skips("each") == []


async def test_a_slot_that_finds_its_run_still_open_is_skipped_with_that_reason(
    ledger: Ledger, now: datetime
) -> None:
    await put_schedules(ledger, [Schedule("hourly", Every(HOUR, now), "t", "agents")], now=now - HOUR)
    await record_due(ledger, [await due(ledger, "hourly")], now=now)
    await record_due(ledger, [await due(ledger, "hourly")], now=now + HOUR)
    (skip,) = await ledger.skips("hourly")
    assert (skip.reason, skip.nominal) == ("overlap", now + HOUR)
    assert (await ledger.counts())["open"] == 1


async def test_a_removed_schedule_is_never_due_again(ledger: Ledger, now: datetime) -> None:
    await put_schedules(ledger, [Schedule("gone", Every(HOUR, now), "t", "agents")], now=now - HOUR)
    seen = await due(ledger, "gone")
    await remove_schedule(ledger, "gone")
    await record_due(ledger, [seen], now=now)
    assert (await ledger.counts())["open"] == 0
    assert await ledger.redis.zcard(ledger.keys.due) == 0
