"""Visits from the hand-out to the run, on a real ledger."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.gates import Gate
from nightshift.heartbeats.row import source_of
from nightshift.heartbeats.visiting import Visited
from nightshift.runs.ledger import DueVisit, Skip
from nightshift.runs.states import State
from nightshift.store.keys import Keys
from tests.nightshift.heartbeats.scene import ROOM, Scene


async def skips(scene: Scene, ref: ChannelRef = ROOM) -> list[Skip]:
    return await scene.ledger.skips(source_of(ref))


async def test_a_visit_that_finds_something_new_becomes_a_run_in_its_channels_lane(scene: Scene) -> None:
    nominal = (await scene.row()).next_at
    visited = await scene.visit()
    assert visited.verdict.passes
    assert visited.run
    run = await scene.ledger.get(visited.run)
    assert (run.source, run.nominal, run.queue, run.lane) == (
        source_of(ROOM),
        nominal,
        "heartbeat",
        source_of(ROOM),
    )
    assert run.payload["channel"] == str(ROOM)
    row = await scene.row()
    assert row.next_at
    assert visited.next
    assert abs(row.next_at - visited.next) < timedelta(milliseconds=1)


async def test_the_first_visits_of_many_channels_are_spread_over_the_interval(
    redis: Redis, keys: Keys, now: datetime
) -> None:
    scene = Scene(redis, keys, now)
    await scene.adopt(*(ChannelRef("matrix", f"!{n}:here") for n in range(200)))
    first: Any = await redis.zrange(keys.visits, 0, -1, withscores=True)
    seconds = [score / 1000 - now.timestamp() for _, score in first]
    assert 0 <= min(seconds) < 120
    assert 1_680 < max(seconds) <= 1_800
    assert len({round(each) for each in seconds}) > 150


async def test_what_is_handed_out_twice_or_carried_out_by_two_workers_runs_once(scene: Scene) -> None:
    due = await scene.come()
    scene.world.together = asyncio.Barrier(8)  # all have read the row before any has changed it
    visited = await asyncio.gather(*(scene.visiting.visit([due], now=scene.now) for _ in range(8)))
    answers = [each.recorded for some in visited for each in some]
    assert sorted(answers) == ["recorded", *["stale"] * 7]
    assert (await scene.row()).generation == due.generation + 1
    assert len(await scene.ledger.open_runs()) == 1
    assert not await skips(scene)


async def test_a_late_message_of_a_visit_that_is_over_neither_runs_nor_reschedules(scene: Scene) -> None:
    due = await scene.come()
    await scene.visiting.visit([due], now=scene.now)
    before = await scene.redis.hgetall(scene.keys.visit(str(ROOM)))
    scene.clock.move(minutes=10)
    assert await scene.visiting.visit([due], now=scene.now) == []
    assert await scene.redis.hgetall(scene.keys.visit(str(ROOM))) == before


async def test_a_visit_whose_message_comes_too_late_waits_for_the_pulse_to_give_it_another_time(
    scene: Scene,
) -> None:
    due = await scene.come()
    before = await scene.redis.hgetall(scene.keys.visit(str(ROOM)))
    scene.clock.move(minutes=2, seconds=1)  # while the pulse was away too, so nothing was handed out again
    assert await scene.visiting.visit([due], now=scene.now) == []
    assert await scene.redis.hgetall(scene.keys.visit(str(ROOM))) == before
    assert not await scene.ledger.open_runs()
    look = await scene.ledger.look("pulse", visits=True)
    assert (look.visits, look.missed) == ([], 1)
    assert [skip.reason for skip in await skips(scene)] == ["missed"]
    assert (await scene.visit()).verdict.passes


async def test_a_visit_that_found_nothing_new_costs_no_run_and_says_so(scene: Scene) -> None:
    await scene.looked(await scene.visit())
    visited = await scene.visit()
    assert visited.verdict.gate is Gate.UNCHANGED
    assert visited.run is None
    (skip,) = await skips(scene)
    assert skip.reason == "unchanged"
    assert "nothing new since" in skip.detail


async def test_a_quiet_channels_skips_are_one_line_that_counts(scene: Scene) -> None:
    await scene.looked(await scene.visit())
    first = (await scene.visit()).verdict
    for _ in range(3):
        assert (await scene.visit()).verdict == first
    (skip,) = await skips(scene)
    assert skip.times == 4
    assert skip.till
    assert skip.till > skip.nominal
    assert (await scene.ledger.tally(scene.now.date()))["heartbeat", "skipped:unchanged"] == 4


async def test_the_interval_stretches_while_nothing_changes_and_a_person_resets_it(scene: Scene) -> None:
    scene.heed(jitter=0, turn=timedelta(0))
    await scene.looked(await scene.visit())
    pauses = []
    for _ in range(10):
        visited = await scene.visit()
        assert visited.next
        pauses.append(round((visited.next - scene.now) / scene.rules.interval))
    assert pauses == [1, 1, 2, 2, 2, 4, 4, 4, 8, 8]
    await scene.say("good morning")
    await scene.visits.touched(ROOM)
    row = await scene.row()
    assert row.unchanged == 0
    assert row.next_at
    assert row.next_at - scene.now <= scene.rules.interval
    await scene.visits.touched(ROOM)
    assert await scene.row() == row


async def test_every_change_is_noticed(scene: Scene) -> None:
    for word in ("one", "two", "three", "four", "five"):
        await scene.say(word)
        await scene.visits.touched(ROOM)
        visited = await scene.visit()
        assert visited.verdict.passes
        await scene.looked(visited)


async def test_a_message_that_comes_between_the_gates_and_the_look_counts_for_the_next_beat(
    scene: Scene,
) -> None:
    visited = await scene.visit()
    await scene.say("one more thing")
    await scene.looked(visited)
    assert (await scene.visit()).verdict.passes


async def test_twelve_hours_without_a_look_let_one_visit_pass_although_nothing_changed(scene: Scene) -> None:
    await scene.looked(await scene.visit())
    looked_at = scene.now
    while (visited := await scene.visit()).verdict.gate:
        assert visited.verdict.gate is Gate.UNCHANGED
    assert visited.verdict.forced
    assert scene.now - looked_at >= timedelta(hours=12)
    await scene.looked(visited)
    assert (await scene.visit()).verdict.gate is Gate.UNCHANGED


async def test_seven_days_without_a_person_suspend_a_channel_once_until_one_speaks(scene: Scene) -> None:
    scene.clock.move(days=7)
    await scene.visits.drop([str(ROOM)])
    await scene.adopt()
    visited = await scene.visit()
    assert (visited.verdict.gate, visited.next) == (Gate.NO_HUMAN, None)
    assert (await scene.row()).suspended_at == scene.now
    assert [skip.reason for skip in await skips(scene)] == ["no_human"]
    scene.clock.move(days=1)
    await scene.adopt()  # being in use again takes a person
    assert (await scene.row()).next_at is None
    assert not (await scene.ledger.look("pulse", visits=True)).visits
    await scene.say("back again")
    await scene.visits.touched(ROOM)
    assert (await scene.row()).suspended_at is None
    assert (await scene.visit()).verdict.passes


async def test_a_suspended_channel_is_adopted_again_even_if_nobody_told_of_the_person(scene: Scene) -> None:
    scene.clock.move(days=8)
    await scene.visits.drop([str(ROOM)])
    await scene.adopt()
    await scene.visit()
    scene.clock.move(days=1)
    await scene.visits.adopt({ROOM: scene.now}, scene.rules, now=scene.now)
    assert (await scene.row()).next_at


async def test_what_the_world_forbids_is_asked_in_order_and_pushes_the_visit_forward(scene: Scene) -> None:
    scene.world.away = {ROOM: "discord: gone"}
    scene.world.stops = {Gate.BREAKER: "half failed", Gate.FROZEN: "ada froze"}
    scene.world.broke = "no money"
    for gate in (Gate.FROZEN, Gate.BREAKER, Gate.ADAPTER):
        visited = await scene.visit()
        assert visited.verdict.gate is gate
        assert visited.next
        assert visited.next - scene.now >= scene.rules.interval * 0.9
        scene.world.stops.pop(gate, None)
    scene.world.away = {}
    assert (await scene.visit()).verdict.gate is Gate.BUDGET
    assert [skip.reason for skip in await skips(scene)] == ["budget", "adapter_down", "breaker", "frozen"]


async def test_a_busy_agent_puts_a_visit_off_three_times_and_then_it_is_skipped(scene: Scene) -> None:
    scene.world.busy_with = "work:x is not over"
    for times in (1, 2, 3):
        visited = await scene.visit()
        assert visited.verdict.deferred
        assert visited.next == scene.now + timedelta(minutes=1)
        assert ((await scene.row()).deferred, (await scene.row()).deferred_for) == (
            times,
            "work:x is not over",
        )
        assert not await skips(scene)
    visited = await scene.visit()
    assert (visited.verdict.gate, visited.verdict.deferred) == (Gate.BUSY, False)
    assert [skip.reason for skip in await skips(scene)] == ["busy"]
    assert (await scene.row()).deferred == 0


async def test_a_person_who_has_just_written_may_write_on(scene: Scene) -> None:
    scene.heed()
    due = await scene.come()
    await scene.say("and another thing")
    (visited,) = await scene.visiting.visit([due], now=scene.now)
    assert visited.verdict.deferred


async def test_a_paused_channel_is_skipped_and_says_by_whom(scene: Scene) -> None:
    await scene.messages.channels.pause(ROOM, by="ada")
    visited = await scene.visit()
    assert (visited.verdict.gate, visited.verdict.value) == (Gate.PAUSED, "by ada")


async def test_an_agent_takes_no_channel_along_to_another_tenant(scene: Scene) -> None:
    await scene.redis.hset(scene.keys.channel(ROOM), "tenant", "before")
    visited = await scene.visit()
    assert visited.verdict.gate is Gate.PAUSED
    assert "is of tenant 'default', and not 'before'" in visited.verdict.value


async def test_a_channel_whose_agent_is_no_longer_described_costs_only_itself(scene: Scene) -> None:
    other = ChannelRef("discord", "2")
    await scene.say(ref=other)
    await scene.adopt(other)
    await scene.redis.hset(scene.keys.channel(ROOM), "agent", "gone")
    scene.clock.move(minutes=31)
    for ref in (ROOM, other):
        await scene.redis.zadd(scene.keys.visits, {str(ref): scene.now.timestamp() * 1000})
        await scene.redis.hset(scene.keys.visit(str(ref)), "next_at", int(scene.now.timestamp() * 1000))
    due = (await scene.ledger.look("pulse", visits=True)).visits
    visited = {each.ref: each.verdict for each in await scene.visiting.visit(due, now=scene.now)}
    assert visited[ROOM].gate is Gate.PAUSED
    assert "no agent is called 'gone'" in visited[ROOM].value
    assert visited[other].passes


@pytest.mark.parametrize("by_hand", [False, True], ids=["in its time", "by hand"])
async def test_a_flood_of_starts_is_stopped_and_two_keep_their_distance_whoever_asks(
    scene: Scene, by_hand: bool
) -> None:
    async def visit() -> Visited:
        await scene.say("new")
        if not by_hand:
            await _due_now(scene)
            return await scene.visit()
        visited = await scene.visiting.visit_now(ROOM, now=scene.now)
        assert visited
        return visited

    for _ in range(5):
        await scene.looked(await visit())
        scene.clock.move(seconds=59)
        assert (await visit()).verdict.gate is Gate.SPACING
        scene.clock.move(seconds=2)
    assert (await visit()).verdict.gate is Gate.FLOOD


async def _due_now(scene: Scene) -> None:
    at = int(scene.now.timestamp() * 1000)
    await scene.redis.zadd(scene.keys.visits, {str(ROOM): at})
    await scene.redis.hset(scene.keys.visit(str(ROOM)), "next_at", at)


async def test_a_visit_by_hand_wakes_a_channel_where_nothing_is_new_but_not_one_that_is_frozen(
    scene: Scene,
) -> None:
    await scene.looked(await scene.visit())
    scene.clock.move(minutes=1)
    again = await scene.visiting.visit_now(ROOM, now=scene.now)
    assert again
    assert again.verdict.passes
    await scene.looked(again)
    scene.clock.move(minutes=1)
    scene.world.stops = {Gate.FROZEN: "ada froze"}
    refused = await scene.visiting.visit_now(ROOM, now=scene.now)
    assert refused
    assert refused.verdict.gate is Gate.FROZEN
    assert await scene.visiting.visit_now(ChannelRef("discord", "none"), now=scene.now) is None


async def test_a_run_that_is_still_open_is_not_joined_by_another(scene: Scene) -> None:
    first = await scene.visit()
    again = await scene.visiting.visit_now(ROOM, now=scene.now + timedelta(minutes=1))
    assert again
    assert again.recorded == "skipped"
    assert len(await scene.ledger.open_runs()) == 1
    assert first.run


# The hand-out


async def test_a_lost_message_is_handed_out_again_within_a_minute_with_the_same_generation(
    scene: Scene,
) -> None:
    due = await scene.come()
    assert not (await scene.ledger.look("pulse", visits=True)).visits
    scene.clock.move(seconds=60)
    (again,) = (await scene.ledger.look("pulse", visits=True)).visits
    assert again == due
    (visited,) = await scene.visiting.visit([again], now=scene.now)
    assert visited.recorded == "recorded"


async def test_visits_are_handed_out_ahead_of_their_time_and_never_far(scene: Scene) -> None:
    at = (await scene.row()).next_at
    assert at
    scene.clock.now = at - timedelta(seconds=6)
    assert not (await scene.ledger.look("pulse", visits=True)).visits
    scene.clock.now = at - timedelta(seconds=5)
    assert [each.at for each in (await scene.ledger.look("pulse", visits=True)).visits] == [at]


async def test_after_downtime_each_channel_gets_a_time_of_its_own_and_one_skip(
    redis: Redis, keys: Keys, now: datetime
) -> None:
    scene = Scene(redis, keys, now)
    refs = [ChannelRef("discord", str(n)) for n in range(100)]
    await scene.adopt(*refs)
    scene.clock.move(hours=5)
    look = await scene.ledger.look("pulse", visits=True)
    assert (len(look.visits), look.missed) == (0, 100)
    placed: Any = await redis.zrange(keys.visits, 0, -1, withscores=True)
    times = [score for _, score in placed]
    assert len({round(each / 60_000) for each in times}) > 20
    (skip,) = await skips(scene, refs[0])
    assert (skip.reason, skip.times >= 9) == ("missed", True)
    events: Any = await redis.xrange(keys.events)
    told = [event for _, event in events if event["type"] != "run_recorded"]
    assert [(event["type"], event["times"]) for event in told] == [("beats_missed", "100")]


async def test_a_closed_queue_gets_no_visits_and_reopening_makes_no_herd(
    redis: Redis, keys: Keys, now: datetime
) -> None:
    scene = Scene(redis, keys, now)
    await scene.adopt(*(ChannelRef("discord", str(n)) for n in range(50)))
    scene.clock.move(minutes=40)
    closed = {"heartbeat": timedelta(seconds=30)}
    look = await scene.ledger.look("pulse", visits=True, held=closed)
    assert not look.visits
    assert look.until > look.now  # the pulse sleeps all the same
    assert not (await scene.ledger.look("pulse")).visits  # and so it does while channels do not visit
    assert (await scene.ledger.look("pulse", visits=True)).missed > 40


@pytest.mark.parametrize("jump", [timedelta(days=400), -timedelta(days=400)], ids=["ahead", "back"])
async def test_a_clock_that_jumps_brings_neither_a_herd_nor_silence(scene: Scene, jump: timedelta) -> None:
    await scene.looked(await scene.visit())
    scene.clock.now += jump
    await scene.visits.replace_misplaced(scene.rules, again=timedelta(minutes=1))
    await scene.ledger.look("pulse", visits=True)
    at = (await scene.row()).next_at
    assert at
    assert timedelta(0) <= at - scene.now <= scene.rules.interval


async def test_a_channel_that_is_dropped_while_its_visit_is_out_does_not_visit(scene: Scene) -> None:
    due = await scene.come()
    await scene.visits.drop([str(ROOM)])
    assert await scene.visiting.visit([due], now=scene.now) == []
    assert (
        await scene.visiting.visit([DueVisit(str(ROOM), due.generation + 1, scene.now)], now=scene.now) == []
    )
    assert await scene.visits.count() == 0
    assert await scene.ledger.counts() == {"open": 0, State.DONE: 0, State.SKIPPED: 0, State.FAILED: 0}
