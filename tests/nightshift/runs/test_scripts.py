"""What each script of the ledger promises, one at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import LostLease, NotPossible, UnknownRun
from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Advance, Ledger, Missed
from nightshift.runs.row import RunRequest, RunRow
from nightshift.runs.states import (
    Overlap,
    Rules,
    State,
    crashed,
    done,
    failed,
    handed_back,
    postponed,
    skipped,
)
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock, Twice, hint_pause, request

LEASE = Rules().lease


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def ledger(redis: Redis, keys: Keys, clock: Clock) -> Ledger:
    return Ledger(redis, keys, clock=clock)


@pytest.fixture
def news(now: datetime) -> RunRequest:
    return request("news", now, payload={"topic": "moon"}, agent="ada", cause="its time came")


async def claim(ledger: Ledger, run_id: str, worker: str = "w1") -> RunRow:
    claimed = await ledger.claim(run_id, worker=worker, message="m1")
    assert isinstance(claimed, RunRow), claimed
    return claimed


async def hints(ledger: Ledger, **how: Any) -> list[tuple[str, int]]:
    return [(hint.run_id, hint.times) for hint in (await ledger.look("pulse", **how)).hints]


# Recording


async def test_a_run_is_recorded_once_under_its_name(ledger: Ledger, news: RunRequest, now: datetime) -> None:
    answers = await asyncio.gather(*(ledger.record(news) for _ in range(20)))

    assert sorted(answers) == ["exists"] * 19 + ["recorded"]
    row = await ledger.get(news.id)
    assert (row.source, row.nominal, row.created, row.ready) == ("news", now, now, now)
    assert (row.state, row.attempts, row.token, row.cost) == (State.WAITING, 0, 0, 0)
    assert (row.payload, row.agent, row.tenant, row.deadline) == (
        {"topic": "moon"},
        "ada",
        "default",
        timedelta(minutes=5),
    )
    assert [(line.at, line.what, line.detail) for line in row.story] == [(now, "recorded", "its time came")]
    assert [run.id for run in await ledger.open_runs()] == [news.id]


async def test_a_slot_whose_lane_is_taken_is_skipped_or_waits_as_it_asked(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    first, second, third, fourth = (
        request("news", now + timedelta(minutes=minute), lane="news", overlap=Overlap.SKIP)
        for minute in range(4)
    )
    clock.move(minutes=4)
    await ledger.record(first)
    assert await ledger.record(second) == "skipped"  # while the first waits
    claimed = await claim(ledger, first.id)
    assert await ledger.record(third) == "skipped"  # while the first runs
    assert await ledger.record(third) == "skipped"
    assert await ledger.record(request("news", now + timedelta(seconds=1), lane="news")) == "recorded"
    await ledger.settle(first.id, claimed.token, done())
    assert await ledger.record(fourth) == "recorded"

    skips = await ledger.skips("news")
    assert [(skip.nominal, skip.reason, skip.times) for skip in skips] == [
        (third.nominal, "overlap", 1),
        (second.nominal, "overlap", 1),
    ]
    assert first.id in skips[0].detail
    assert (await ledger.tally(now.date()))["news", "skipped:overlap"] == 2


async def test_a_run_and_the_advance_of_its_schedule_are_recorded_together_or_not_at_all(
    ledger: Ledger, redis: Redis, keys: Keys, now: datetime
) -> None:
    at, after = to_ms(now), to_ms(now + timedelta(hours=1))
    await redis.zadd(keys.due, {"news": at})
    move = Advance(keys.due, "news", at, after, keys.schedule("news"), {"slot": "1"})
    missed = Missed("news", 3, now - timedelta(hours=3), now - timedelta(hours=1))

    run, rival = request("news", now), request("news", now + timedelta(seconds=1))
    assert await ledger.record(run, advance=move, missed=missed) == "recorded"
    assert await ledger.record(rival, advance=move, missed=missed) == "stale"

    assert await ledger.find(rival.id) is None
    assert await redis.zscore(keys.due, "news") == after
    assert await redis.hgetall(keys.schedule("news")) == {"slot": "1"}
    assert [(skip.reason, skip.times, skip.nominal) for skip in await ledger.skips("news")] == [
        ("missed", 3, now - timedelta(hours=3))
    ]
    assert (await ledger.tally(now.date()))["news", "skipped:missed"] == 3

    last = Advance(keys.due, "news", after, None, keys.schedule("news"))
    assert await ledger.record(advance=last) == "advanced"
    assert await ledger.record(advance=last) == "stale"
    assert await redis.zscore(keys.due, "news") is None


async def test_many_are_recorded_in_one_go_even_by_a_store_that_forgot_the_scripts(
    ledger: Ledger, redis: Redis, keys: Keys, now: datetime
) -> None:
    await redis.script_flush()
    runs = [request("news", now), request("mail", now), request("news", now)]
    stale = Advance(keys.due, "poll", 1, 2, keys.schedule("poll"))

    recordings = [*((run, None, None) for run in runs), (None, stale, None)]
    assert await ledger.record_many(recordings) == ["recorded", "recorded", "exists", "stale"]
    assert await ledger.record_many([]) == []


async def test_an_ended_run_can_be_replayed_with_its_history(
    ledger: Ledger, news: RunRequest, now: datetime
) -> None:
    with pytest.raises(UnknownRun, match="no run is called 'nothing'"):
        await ledger.replay("nothing", by="ann")
    await ledger.record(news)
    first = await claim(ledger, news.id)
    await ledger.settle(news.id, first.token, failed("no such room"), cost=5)

    await ledger.replay(news.id, by="ann")
    await ledger.replay(news.id, by="ann")  # it is open now: nothing more happens
    waiting = await ledger.get(news.id)
    assert (waiting.state, waiting.attempts, waiting.ended) == (State.WAITING, 0, None)
    assert await ledger.ended_runs(State.FAILED) == []
    second = await claim(ledger, news.id)
    await ledger.settle(news.id, second.token, done(), cost=7)

    row = await ledger.get(news.id)
    assert [line.what for line in row.story] == [
        "recorded",
        "claimed",
        "failed",
        "replayed",
        "claimed",
        "done",
    ]
    tally = await ledger.tally(now.date())
    assert (row.cost, tally["news", "cost"]) == (12, 12)  # the first end is not paid for twice
    assert (tally["news", "failed"], tally["news", "done"]) == (1, 1)


# Looking


async def test_a_waiting_run_is_hinted_when_it_is_ready_and_again_at_growing_intervals(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    run = request("news", now, ready=now + timedelta(seconds=40))
    await ledger.record(run)
    due_after = [40, 30, 60, 120, 240, 480, 900, 900]
    assert [hint_pause(times, ledger.rules).seconds for times in range(1, 8)] == due_after[1:]

    for times, pause in enumerate(due_after, start=1):
        clock.move(seconds=pause, milliseconds=-1)
        assert await hints(ledger) == []
        clock.move(milliseconds=1)
        assert await hints(ledger) == [(run.id, times)]
    hint = (await ledger.get(run.id)).ready
    assert hint == now + timedelta(seconds=40)


async def test_a_held_queue_gets_no_hints_but_is_looked_at_again(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    held, free = request("held", now, queue="memory"), request("free", now, queue="io")
    await ledger.record(held)
    await ledger.record(free)

    assert await hints(ledger, held={"memory": timedelta(seconds=5)}) == [(free.id, 1)]
    assert await hints(ledger) == []
    clock.move(seconds=5)
    assert await hints(ledger) == [(held.id, 1)]


async def test_a_look_hands_out_no_more_than_it_may_and_says_when_to_look_again(
    ledger: Ledger, redis: Redis, keys: Keys, now: datetime
) -> None:
    for second in range(3):
        await ledger.record(request("news", now - timedelta(seconds=second)))
    await redis.zadd(keys.due, {"early": to_ms(now) - 1, "now": to_ms(now), "later": to_ms(now) + 4_000})
    await redis.hset(keys.schedule("early"), "task", "tasks.work")

    look = await ledger.look("pulse", limit=2)
    assert (look.on_shift, len(look.hints), look.hints[0].task, look.hints[0].queue) == (
        True,
        2,
        "tasks.work",
        "io",
    )
    assert [(due.id, due.score, dict(due.row)) for due in look.due] == [
        ("early", to_ms(now) - 1, {"task": "tasks.work"}),
        ("now", to_ms(now), {}),
    ]
    assert look.until <= look.now == now  # there is more: look at once

    await redis.zrem(keys.due, "early", "now")
    assert (await ledger.look("pulse")).until == now + timedelta(seconds=4)
    await redis.zrem(keys.due, "later")
    assert (await ledger.look("pulse")).until == now + ledger.rules.shift_lease  # never sleep the shift away


async def test_each_lapsed_lease_spends_an_attempt_and_the_third_gives_up(
    ledger: Ledger, clock: Clock, news: RunRequest
) -> None:
    await ledger.record(news)
    for attempt in (1, 2, 3):
        await claim(ledger, news.id, worker=f"w{attempt}")
        clock.now += LEASE - timedelta(milliseconds=1)
        assert await hints(ledger) == []
        clock.move(milliseconds=1)
        assert await hints(ledger) == ([(news.id, 1)] if attempt < 3 else [])

    row = await ledger.get(news.id)
    assert (row.state, row.attempts, row.reason) == (
        State.FAILED,
        3,
        "gave up after 3 attempts: lost by w3",
    )
    assert await ledger.open_runs() == []


async def test_what_has_ended_or_gone_does_not_stay_in_the_index(
    ledger: Ledger, redis: Redis, keys: Keys, news: RunRequest
) -> None:
    await ledger.record(news)
    await ledger.cancel(news.id)
    await redis.zadd(keys.open, {news.id: 0, "gone": 0})

    assert await hints(ledger) == []
    assert await redis.zcard(keys.open) == 0


async def test_one_pulse_has_the_shift_and_the_others_stand_by_until_it_lapses(
    ledger: Ledger, clock: Clock, news: RunRequest, now: datetime
) -> None:
    await ledger.record(news)
    looks = await asyncio.gather(*(ledger.look(f"pulse {n}") for n in range(10)))
    (holder,) = [f"pulse {n}" for n, look in enumerate(looks) if look.on_shift]
    lapse = now + ledger.rules.shift_lease
    assert {look.until for look in looks if not look.on_shift} == {lapse}

    clock.now = lapse - timedelta(milliseconds=1)
    assert not (await ledger.look("successor")).on_shift
    await ledger.leave_shift("successor")  # not its to leave
    assert (await ledger.look(holder)).on_shift
    clock.now += ledger.rules.shift_lease
    assert (await ledger.look("successor")).on_shift
    assert not (await ledger.look(holder)).on_shift
    await ledger.leave_shift("successor")
    assert (await ledger.look(holder)).on_shift


async def test_a_long_shift_is_handed_over_to_who_asks_but_not_before(ledger: Ledger, clock: Clock) -> None:
    async def keep(seconds: int) -> bool:
        clock.move(seconds=seconds)
        return (await ledger.look("old")).on_shift

    assert await keep(0)
    for _ in range(7):
        assert await keep(9)  # past its length, but nobody asks
    assert not (await ledger.look("new")).on_shift
    assert not await keep(1)
    assert (await ledger.look("new")).on_shift
    assert not (await ledger.look("old")).on_shift
    clock.move(seconds=9)
    assert (await ledger.look("new")).on_shift  # asked, but its shift is young


async def test_who_asked_and_went_away_is_not_waited_for(ledger: Ledger, clock: Clock) -> None:
    await ledger.look("old")
    await ledger.look("new")
    for _ in range(10):
        clock.move(seconds=9)
        assert (await ledger.look("old")).on_shift


# Claiming


async def test_one_of_many_claimers_wins(ledger: Ledger, news: RunRequest, now: datetime) -> None:
    await ledger.record(news)
    answers = await asyncio.gather(
        *(ledger.claim(news.id, worker=f"w{n}", message=f"m{n}") for n in range(50))
    )

    assert answers.count("busy") == 49
    (row,) = [answer for answer in answers if isinstance(answer, RunRow)]
    assert (row.state, row.token, row.started, row.lease) == (State.RUNNING, 1, now, now + LEASE)
    assert row == await ledger.get(news.id)
    assert (row.message, row.worker) == (f"m{answers.index(row)}", f"w{answers.index(row)}")


async def test_a_hint_that_comes_too_early_or_too_late_is_told_so(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    run = request("news", now + timedelta(seconds=1))
    assert await ledger.claim(run.id, worker="w", message="m") == "missing"
    await ledger.record(run)
    assert await ledger.claim(run.id, worker="w", message="m") == "early"
    clock.move(seconds=1)
    claimed = await claim(ledger, run.id)
    assert await ledger.claim(run.id, worker="w", message="m") == "busy"
    await ledger.settle(run.id, claimed.token, done())
    assert await ledger.claim(run.id, worker="w", message="m") == "ended"


async def test_a_hint_can_take_over_a_lapsed_claim_before_the_pulse_sees_it(
    ledger: Ledger, clock: Clock, news: RunRequest
) -> None:
    await ledger.record(news)
    for token in (1, 2, 3):
        assert (await claim(ledger, news.id)).token == token
        clock.now += LEASE
    assert await ledger.claim(news.id, worker="w", message="m") == "ended"
    row = await ledger.get(news.id)
    assert (row.state, row.attempts) == (State.FAILED, 3)


async def test_runs_of_one_lane_are_carried_out_one_after_the_other(
    ledger: Ledger, redis: Redis, keys: Keys, clock: Clock, now: datetime
) -> None:
    first, second = request("mail", now, lane="ada"), request("chat", now, lane="ada")
    await ledger.record(first)
    await ledger.record(second)
    claimed = await claim(ledger, second.id)  # the first only waits: it does not block
    assert await ledger.claim(first.id, worker="w", message="m") == "lane"
    assert await redis.zscore(keys.open, first.id) == to_ms(now + LEASE)  # should nobody wake it before

    assert await ledger.settle(second.id, claimed.token, postponed("busy", timedelta(seconds=5))) == "waiting"
    claimed = await claim(ledger, first.id)  # who waits for an answer holds nobody up
    other = request("wake", now, lane="ada")
    await ledger.record(other)
    await ledger.cancel(other.id)  # it never had the lane, so it frees none
    clock.move(seconds=5)
    assert await ledger.claim(second.id, worker="w", message="m") == "lane"
    await ledger.settle(first.id, claimed.token, failed("refused"))
    assert not await redis.exists(keys.lane("ada"))
    assert await redis.zscore(keys.open, second.id) == to_ms(clock.now)  # woken by who left the lane
    await claim(ledger, second.id)


async def test_a_lane_goes_to_who_has_waited_longest_as_soon_as_it_is_free(
    ledger: Ledger, redis: Redis, keys: Keys, clock: Clock, now: datetime
) -> None:
    runs = [request(name, now, lane="ada") for name in ("mail", "chat", "wake", "away")]
    for run in runs:
        await ledger.record(run)
    claimed = await claim(ledger, runs[0].id)
    for run in runs[1:]:
        clock.move(seconds=1)
        assert await ledger.claim(run.id, worker="w", message="m") == "lane"
    # Asking again loses no place, and who no longer wants it keeps nobody waiting.
    assert await ledger.claim(runs[1].id, worker="w", message="m") == "lane"
    await ledger.cancel(runs[3].id)
    for run, next in pairwise(runs[:3]):
        assert await redis.zscore(keys.open, next.id) != to_ms(clock.now)
        await ledger.settle(run.id, claimed.token, done())
        assert await redis.zscore(keys.open, next.id) == to_ms(clock.now)
        claimed = await claim(ledger, next.id)
    assert not await redis.exists(keys.waits("ada"))


async def test_who_has_had_a_lane_meanwhile_is_not_the_next(
    ledger: Ledger, redis: Redis, keys: Keys, clock: Clock, now: datetime
) -> None:
    runs = [request(name, now, lane="ada") for name in ("mail", "chat", "wake", "away")]
    for run in runs:
        await ledger.record(run)
    hour = postponed("busy", timedelta(hours=1))
    claimed = await claim(ledger, runs[0].id)
    assert await ledger.claim(runs[1].id, worker="w", message="m") == "lane"
    await ledger.settle(runs[0].id, claimed.token, hour)
    claimed = await claim(ledger, runs[1].id)
    await ledger.settle(runs[1].id, claimed.token, hour)
    claimed = await claim(ledger, runs[2].id)
    clock.move(seconds=1)
    assert await ledger.claim(runs[3].id, worker="w", message="m") == "lane"
    await ledger.settle(runs[2].id, claimed.token, done())
    assert await redis.zscore(keys.open, runs[3].id) == to_ms(clock.now)


async def test_a_lane_that_is_called_pulse_is_not_the_pulses(ledger: Ledger, now: datetime) -> None:
    assert (await ledger.look("left")).on_shift
    await ledger.record(request("mail", now, lane="pulse"))
    assert (await ledger.look("left")).on_shift
    assert not (await ledger.look("right")).on_shift


async def test_a_slot_is_skipped_while_a_replayed_run_of_its_lane_is_open(
    ledger: Ledger, now: datetime
) -> None:
    first = request("job:a", now, lane="job:a", overlap=Overlap.SKIP)
    await ledger.record(first)
    await ledger.settle(first.id, (await claim(ledger, first.id)).token, failed("x"))
    await ledger.replay(first.id, by="ann")
    later = request("job:a", now + timedelta(hours=1), lane="job:a", overlap=Overlap.SKIP)
    assert await ledger.record(later) == "skipped"


# Renewing


async def test_a_renewed_claim_outlives_its_first_lease(
    ledger: Ledger, clock: Clock, news: RunRequest, now: datetime
) -> None:
    await ledger.record(news)
    row = await claim(ledger, news.id)
    clock.now += LEASE - timedelta(milliseconds=1)
    assert await ledger.renew(news.id, row.token) is None
    clock.now += LEASE - timedelta(milliseconds=1)
    assert await ledger.claim(news.id, worker="w2", message="m2") == "busy"
    assert await hints(ledger) == []


async def test_nothing_of_a_claim_counts_after_somebody_else_has_claimed(
    ledger: Ledger, clock: Clock, news: RunRequest
) -> None:
    await ledger.record(news)
    stale = await claim(ledger, news.id, "frozen")
    clock.now += LEASE
    fresh = await claim(ledger, news.id, "awake")

    with pytest.raises(LostLease, match=f"{news.id}: claim 1"):
        await ledger.renew(news.id, stale.token, checkpoint="stale", cost=1)
    with pytest.raises(LostLease, match=f"{news.id}: claim 1"):
        await ledger.settle(news.id, stale.token, done(by="frozen"), cost=1)
    assert await ledger.settle(news.id, fresh.token, done(by="awake")) == "done"
    with pytest.raises(LostLease):
        await ledger.renew(news.id, fresh.token, checkpoint="late")

    row = await ledger.get(news.id)
    assert (row.result, row.checkpoint, row.cost) == ({"by": "awake"}, None, 0)


async def test_a_claim_the_pulse_took_back_is_refused_even_before_another_takes_it(
    ledger: Ledger, clock: Clock, news: RunRequest
) -> None:
    await ledger.record(news)
    row = await claim(ledger, news.id)
    clock.now += LEASE
    assert await hints(ledger) == [(news.id, 1)]

    with pytest.raises(LostLease):
        await ledger.renew(news.id, row.token)
    with pytest.raises(LostLease):
        await ledger.settle(news.id, row.token, done())
    assert (await ledger.get(news.id)).state == State.WAITING


async def test_a_repeated_settle_learns_that_somebody_else_went_on(ledger: Ledger, news: RunRequest) -> None:
    await ledger.record(news)
    row = await claim(ledger, news.id)
    await ledger.settle(news.id, row.token, handed_back("stopped"))
    await claim(ledger, news.id, "w2")
    with pytest.raises(LostLease):
        await ledger.settle(news.id, row.token, handed_back("stopped"))


async def test_a_lapsed_claim_nobody_took_can_still_be_kept_and_settled(
    ledger: Ledger, clock: Clock, news: RunRequest
) -> None:
    await ledger.record(news)
    row = await claim(ledger, news.id)
    clock.now += 2 * LEASE
    assert await ledger.renew(news.id, row.token) is None
    clock.now += 2 * LEASE
    assert await ledger.settle(news.id, row.token, done()) == "done"


async def test_a_checkpoint_is_kept_for_the_next_attempt_and_costs_add_up_over_attempts(
    ledger: Ledger, clock: Clock, news: RunRequest, now: datetime
) -> None:
    await ledger.record(news)
    first = await claim(ledger, news.id)
    await ledger.renew(news.id, first.token, cost=10)
    await ledger.renew(news.id, first.token, cost=25, checkpoint={"answer": "yes\n"})
    await ledger.renew(news.id, first.token, cost=25)
    clock.now += LEASE

    second = await claim(ledger, news.id)
    assert (second.checkpoint, second.cost) == ({"answer": "yes\n"}, 25)
    for _ in range(2):
        await ledger.settle(news.id, second.token, done(), cost=5)
    row = await ledger.get(news.id)
    assert (row.cost, row.raw["cost"]) == (30, "30")
    assert (await ledger.tally(now.date()))["news", "cost"] == 30


# Settling


@pytest.mark.parametrize("outcome", [done(found=3), skipped("nothing new", seen=2), failed("refused")])
async def test_a_settled_run_has_ended_and_says_how(
    ledger: Ledger, redis: Any, keys: Keys, clock: Clock, now: datetime, outcome: Any
) -> None:
    run = request("news", now, lane="news")
    await redis.hset(keys.schedule("news"), "task", "tasks.work")
    await ledger.record(run)
    claimed = await claim(ledger, run.id)
    clock.move(seconds=2)

    for _ in range(2):  # said again by the same claim, it counts once
        assert await ledger.settle(run.id, claimed.token, outcome, cost=7) == outcome.state

    row = await ledger.get(run.id)
    assert (row.state, row.reason, row.ended, row.lease) == (outcome.state, outcome.reason, clock.now, None)
    assert row.result == (outcome.facts or None)
    assert [each.id for each in await ledger.ended_runs(outcome.state)] == [run.id]
    assert sum((await ledger.counts()).values()) == 1
    assert await redis.hgetall(keys.schedule("news")) == {
        "task": "tasks.work",
        "last_run": run.id,
        "last_state": outcome.state,
        "last_reason": outcome.reason,
        "last_ended": str(to_ms(clock.now)),
        "last_nominal": str(to_ms(now)),
    }
    tally = await ledger.tally(now.date())
    assert tally == {("news", "claimed"): 1, ("news", outcome.state): 1, ("news", "cost"): 7}
    events = [facts for _, facts in await redis.xrange(keys.events)]
    assert [facts["type"] for facts in events] == ["run_recorded", "run_started", "run_settled"]
    assert events[-1] == {
        "type": "run_settled",
        "run": run.id,
        "source": "news",
        "tenant": "default",
        "agent": "",
        "status": outcome.state,
        "reason": outcome.reason,
        "worker": "w1",
        "queue": "io",
        "cost": "7",
        "duration_ms": "2000",
    }


@pytest.mark.parametrize(
    ("outcome", "survives", "spent"),
    [
        (handed_back("worker stopped"), 50, (0, 0)),  # counts against nothing
        (postponed("asked to wait", timedelta(seconds=9)), 5, (0, 6)),  # the sixth wait is one too many
        (crashed("broke", timedelta(seconds=9)), 2, (3, 0)),  # the third crash is
    ],
)
async def test_a_run_put_back_waits_again_until_its_limit(
    ledger: Ledger, clock: Clock, news: RunRequest, outcome: Any, survives: int, spent: tuple[int, int]
) -> None:
    await ledger.record(news)
    for _ in range(survives):
        claimed = await claim(ledger, news.id)
        for _ in range(2):
            assert await ledger.settle(news.id, claimed.token, outcome) == State.WAITING
        row = await ledger.get(news.id)
        assert (row.ready, row.reason, row.worker) == (clock.now + outcome.after, outcome.reason, "")
        clock.now += outcome.after
        assert await hints(ledger) == [(news.id, 1)]
    if any(spent):
        claimed = await claim(ledger, news.id)
        for _ in range(2):
            assert await ledger.settle(news.id, claimed.token, outcome) == State.FAILED
        assert (await ledger.get(news.id)).reason.endswith(f"{outcome.spends}: {outcome.reason}")
    row = await ledger.get(news.id)
    assert (row.attempts, row.retries) == spent


async def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_asked(
    ledger: Ledger, now: datetime
) -> None:
    with pytest.raises(UnknownRun):
        await ledger.cancel("nothing")
    waiting, running, drained = (request(source, now) for source in ("waiting", "running", "drained"))
    for run in (waiting, running, drained):
        await ledger.record(run)
    claims = {run.id: await claim(ledger, run.id) for run in (running, drained)}

    for _ in range(2):
        assert await ledger.cancel(waiting.id, reason="by ann") == "settled"
        for run in (running, drained):
            assert await ledger.cancel(run.id, reason="by ann") == "asked"
            assert await ledger.renew(run.id, claims[run.id].token) == "by ann"
    assert await ledger.settle(running.id, claims[running.id].token, done()) == "done"  # it was faster
    # Nobody takes a cancelled run up again.
    assert await ledger.settle(drained.id, claims[drained.id].token, handed_back("stopped")) == "skipped"

    for run in (waiting, drained):
        row = await ledger.get(run.id)
        assert (row.state, row.reason) == (State.SKIPPED, "by ann")
    with pytest.raises(NotPossible, match=r"ended already \(done\)"):
        await ledger.cancel(running.id, reason="by ann")
    await ledger.replay(running.id, by="ann")  # what was asked of the first time is forgotten
    assert await ledger.renew(running.id, (await claim(ledger, running.id)).token) is None


async def test_a_cancelled_run_whose_worker_died_ends_when_its_lease_lapses(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    seen_by_pulse, seen_by_hint = request("news", now), request("mail", now)
    for run in (seen_by_pulse, seen_by_hint):
        await ledger.record(run)
        await claim(ledger, run.id)
        await ledger.cancel(run.id)
    clock.now += LEASE

    assert await ledger.claim(seen_by_hint.id, worker="w", message="m") == "ended"
    assert await hints(ledger) == []
    assert {run.id for run in await ledger.ended_runs(State.SKIPPED)} == {seen_by_pulse.id, seen_by_hint.id}


# What a change leaves behind


@pytest.mark.parametrize("words", ["two\nlines", "bro\udc80ken", "nul\0", "line\u2028separator", "ümläut"])
async def test_a_run_stays_readable_whatever_its_error_says(
    ledger: Ledger, news: RunRequest, words: str
) -> None:
    await ledger.record(news)
    claimed = await claim(ledger, news.id)
    await ledger.settle(news.id, claimed.token, failed(words))

    row = await ledger.get(news.id)
    assert len(row.reason) == len(words)
    assert row.story[-1].what == "failed"
    assert len(row.story) == 3


async def test_facts_that_json_does_not_know_are_kept_as_text(
    ledger: Ledger, news: RunRequest, now: datetime
) -> None:
    await ledger.record(news)
    claimed = await claim(ledger, news.id)
    assert await ledger.settle(news.id, claimed.token, done(at=now)) == "done"
    assert (await ledger.get(news.id)).result == {"at": str(now)}


async def test_a_long_story_loses_its_oldest_lines_first(ledger: Ledger, news: RunRequest) -> None:
    await ledger.record(news)
    for times in range(200):
        claimed = await claim(ledger, news.id)
        await ledger.settle(news.id, claimed.token, handed_back(f"drain {times} {'é' * 50}"))

    row = await ledger.get(news.id)
    assert len(row.raw["story"].encode()) <= 8192
    assert row.story[-1].detail.startswith("drain 199 ")
    assert {line.what for line in row.story} == {"claimed", "returned"}


async def test_the_pulse_is_poked_only_by_what_comes_before_it_wakes(
    ledger: Ledger, redis: Any, keys: Keys, clock: Clock, now: datetime
) -> None:
    start, row = to_ms(now), keys.schedule("news")
    far, near, waits, returns = (
        request(source, now + timedelta(seconds=second))
        for source, second in {"far": 5, "near": 4, "waits": 0, "returns": 0}.items()
    )
    await redis.zadd(keys.due, {"news": start + 9_000, "mail": start + 5_000})
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.poke)
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        assert (await ledger.look("pulse")).until == now + timedelta(seconds=5)

        await ledger.record(far)
        await ledger.record(advance=Advance(keys.due, "news", start + 9_000, start + 8_000, row))
        await ledger.record(near)
        await ledger.record(advance=Advance(keys.due, "news", start + 8_000, start + 3_000, row))
        clock.move(milliseconds=1)
        for run, outcome in (
            (waits, postponed("wait", timedelta(minutes=1))),
            (returns, handed_back("stopped")),
        ):
            await ledger.record(run)
            claimed = await claim(ledger, run.id)
            await ledger.settle(run.id, claimed.token, outcome)
        clock.move(milliseconds=1)
        await ledger.cancel(near.id)
        await ledger.replay(near.id, by="ann")

        pokes = [int((await pubsub.get_message(timeout=5))["data"]) - start for _ in range(6)]
    assert pokes == [4_000, 3_000, 0, 0, 1, 2]


async def test_the_last_run_of_a_removed_schedule_does_not_bring_it_back(
    ledger: Ledger, redis: Redis, keys: Keys, news: RunRequest
) -> None:
    await ledger.record(news)
    await ledger.cancel(news.id)
    assert not await redis.exists(keys.schedule("news"))


# Saying it again


async def test_every_call_may_be_repeated_without_changing_anything(
    redis: Redis, keys: Keys, clock: Clock, now: datetime
) -> None:
    """The client repeats a call whose answer was lost: same arguments, same nonce."""
    ledger = Twice(redis, keys, clock=clock)
    at, row = to_ms(now), keys.schedule("news")
    await redis.zadd(keys.due, {"news": at})
    news, late, mail = (
        request(source, now + timedelta(seconds=second), lane="ada", overlap=Overlap.SKIP, agent="ada")
        for source, second in (("news", 0), ("news", 1), ("mail", 2))
    )
    missed = Missed("news", 2, now, now, reason="asleep")

    await ledger.look("pulse")
    await ledger.look("successor")
    assert await ledger.record(news, advance=Advance(keys.due, "news", at, at + 1_000, row)) == "recorded"
    assert await ledger.record(late) == "skipped"
    assert await ledger.record(missed=missed) == "advanced"
    assert await ledger.record(request("mail", mail.nominal, lane="ada")) == "recorded"
    assert (await ledger.look("pulse")).hints
    clock.move(seconds=2)
    claimed = await claim(ledger, news.id)
    assert claimed.token == 1
    assert await ledger.claim(news.id, worker="w1", message="m1") == "busy"
    assert await ledger.claim(mail.id, worker="w2", message="m2") == "lane"
    await ledger.renew(news.id, 1, cost=5, checkpoint={"step": 1})
    await ledger.settle(news.id, 1, postponed("wait", timedelta(seconds=1)), cost=6)
    clock.move(seconds=1)
    assert (await claim(ledger, news.id)).token == 2
    clock.now += LEASE
    await ledger.look("pulse")  # takes the lapsed claim back
    assert (await claim(ledger, news.id)).token == 3
    clock.now += LEASE
    assert (await claim(ledger, news.id)).token == 4
    await ledger.cancel(news.id)
    await ledger.settle(news.id, 4, handed_back("stopped"), cost=7)
    await ledger.cancel(mail.id)
    await ledger.replay(news.id, by="ann")
    assert (await claim(ledger, news.id)).token == 5
    await ledger.settle(news.id, 5, done(found=1), cost=8)
    await ledger.leave_shift("pulse")

    assert await ledger.tally(now.date()) == {
        ("news", "skipped:overlap"): 1,
        ("news", "skipped:asleep"): 2,
        ("news", "claimed"): 5,
        ("news", "lost"): 2,
        ("news", "skipped"): 1,
        ("mail", "skipped"): 1,
        ("news", "done"): 1,
        ("news", "cost"): 21,
    }


async def test_retention_drops_what_ended_before_and_nothing_else(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    runs = [request("news", now - timedelta(seconds=second)) for second in range(5)]
    for run in runs[:4]:
        await ledger.record(run)
        await ledger.cancel(run.id)
        clock.move(seconds=1)
    await ledger.record(runs[4])

    ended_before = now + timedelta(seconds=3)
    assert [n async for n in ledger.forget_ended(State.SKIPPED, ended_before, batch=2)] == [2, 1]
    assert [run.id for run in await ledger.ended_runs(State.SKIPPED)] == [runs[3].id]
    assert [await ledger.find(run.id) is None for run in runs] == [True, True, True, False, False]
