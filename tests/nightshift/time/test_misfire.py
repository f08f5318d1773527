from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.time.cadence import Cadence, Every, cron, every
from nightshift.time.misfire import CatchUp, Misfire, catch_up, grace
from nightshift.time.zones import TICK
from tests.nightshift.time.strategies import cadences, instants, unhurried

RUN_LATEST, SKIP, RUN_ALL = Misfire
NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
HOURLY = every(hours=1).anchored(NOON)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("policy", "late", "run", "missed"),
    [
        # on time, or as good as
        (RUN_LATEST, timedelta(0), [12], []),
        (SKIP, timedelta(0), [12], []),
        (RUN_ALL, timedelta(0), [12], []),
        (SKIP, MINUTE, [12], []),
        (SKIP, MINUTE + TICK, [], [12]),
        # within the grace of half an hour, and past it
        (RUN_LATEST, 30 * MINUTE, [12], []),
        (RUN_LATEST, 30 * MINUTE + TICK, [], [12]),
        (RUN_ALL, 59 * MINUTE, [12], []),
        # several have passed: the latest stands for the others, if it is fresh enough
        (RUN_LATEST, 3 * HOUR + 5 * MINUTE, [15], [12, 13, 14]),
        (RUN_LATEST, 3 * HOUR + 45 * MINUTE, [], [12, 13, 14, 15]),
        (SKIP, 3 * HOUR + MINUTE, [15], [12, 13, 14]),
        (SKIP, 3 * HOUR + 5 * MINUTE, [], [12, 13, 14, 15]),
        (RUN_ALL, 2 * HOUR + 45 * MINUTE, [12, 13, 14], []),
        # more have passed than are caught up: the oldest are given up
        (RUN_ALL, 4 * HOUR, [14, 15, 16], [12, 13]),
    ],
)
def test_each_policy_answers_for_every_slot_that_passed(
    policy: Misfire, late: timedelta, run: list[int], missed: list[int]
) -> None:
    answer = catch_up(HOURLY, NOON, NOON + late, policy, grace(HOURLY), at_most=3)

    assert answer == CatchUp(
        run=tuple(NOON.replace(hour=hour) for hour in run),
        missed=len(missed),
        missed_from=NOON.replace(hour=missed[0]) if missed else None,
        missed_until=NOON.replace(hour=missed[-1]) if missed else None,
        next=NOON.replace(hour=12 + late // HOUR + 1),
    )


@pytest.mark.parametrize("policy", Misfire)
def test_nothing_runs_before_the_slot_that_was_announced(policy: Misfire) -> None:
    answer = catch_up(HOURLY, NOON, NOON - TICK, policy, HOUR)
    assert answer == CatchUp(run=(), missed=0, missed_from=None, missed_until=None, next=NOON)


def test_a_slot_announced_before_the_cadence_was_changed_still_runs_once() -> None:
    announced = NOON + 7 * MINUTE
    answer = catch_up(HOURLY, announced, announced + MINUTE, RUN_LATEST, HOUR)
    assert (answer.run, answer.missed, answer.next) == ((announced,), 0, NOON + HOUR)


def test_skip_keeps_to_a_grace_shorter_than_a_minute() -> None:
    assert catch_up(HOURLY, NOON, NOON + timedelta(seconds=30), SKIP, timedelta(seconds=10)).missed == 1


@unhurried
@given(
    cadences(), instants(), st.lists(st.integers(1, 10**5), min_size=2, max_size=6), st.sampled_from(Misfire)
)
def test_over_any_pauses_each_slot_is_answered_for_exactly_once(
    cadence: Cadence, start: datetime, pauses: list[int], policy: Misfire
) -> None:
    expected, now = cadence.slot_after(start), start
    ran: list[datetime] = []
    missed = 0
    for pause in pauses:
        now += timedelta(seconds=pause)
        answer = catch_up(cadence, expected, now, policy, grace(cadence), at_most=3)
        assert catch_up(cadence, expected, now, policy, grace(cadence), at_most=3) == answer
        ran += answer.run
        missed += answer.missed
        expected = answer.next
    assert all(earlier < later for earlier, later in pairwise(ran))
    assert len(ran) + missed == cadence.count(start, now)
    assert expected == cadence.slot_after(now)


@pytest.mark.parametrize("cadence", [cron("* * * * *", "Europe/London"), Every(MINUTE, NOON)])
def test_three_years_away_cost_no_more_than_a_moment(cadence: Cadence) -> None:
    now = NOON.replace(year=2030)
    started = time.process_time()
    answer = catch_up(cadence, NOON, now, RUN_ALL, HOUR)
    assert time.process_time() - started < 0.05
    assert answer.run == tuple(now - n * MINUTE for n in reversed(range(10)))
    assert answer.missed == (now - NOON) // MINUTE + 1 - 10
    assert answer.missed_until == now - 10 * MINUTE


@pytest.mark.parametrize(
    ("cadence", "allowed"),
    [
        (every(seconds=10), timedelta(minutes=2)),  # no less
        (every(hours=1), timedelta(minutes=30)),
        (cron("0 3 * * *", "Europe/Berlin"), timedelta(hours=2)),  # no more
    ],
)
def test_grace_is_half_a_period_within_bounds(cadence: Cadence, allowed: timedelta) -> None:
    assert grace(cadence) == allowed
