from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import BadSchedule
from nightshift.time.cadence import Cadence, Cron, Every, cadence_from, cron, every
from nightshift.time.zones import TICK, zone
from tests.nightshift.time.strategies import cadences, crons, crontabs, instants, unhurried

ANCHOR = datetime(2027, 1, 1, tzinfo=UTC)
FAR = datetime.max.replace(tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@unhurried
@given(cadences(), instants())
def test_the_next_slot_is_later_and_is_a_slot(cadence: Cadence, instant: datetime) -> None:
    slot = cadence.slot_after(instant)
    assert slot > instant
    assert cadence.latest_slot(slot) == slot
    assert cadence.slot_after(slot) > slot


@unhurried
@given(cadences(), instants(), st.data())
def test_between_two_slots_every_question_has_the_same_answer(
    cadence: Cadence, instant: datetime, data: st.DataObject
) -> None:
    slot = cadence.slot_after(instant)
    following = cadence.slot_after(slot)
    between = slot + data.draw(st.integers(0, 10**6)) * (following - slot) / (10**6 + 1)
    assert cadence.latest_slot(between) == slot
    assert cadence.slot_after(between) == following
    assert cadence.latest_slot(following - TICK) == slot


@unhurried
@given(cadences(), instants())
def test_a_list_of_slots_is_the_slots_one_by_one(cadence: Cadence, after: datetime) -> None:
    slots = cadence.slots(after, FAR, 20)
    assert all(cadence.slot_after(earlier) == later for earlier, later in pairwise((after, *slots)))
    assert cadence.slots(after, slots[9], 100) == slots[:10]
    assert cadence.count(after, slots[9]) == 10
    assert cadence.count(after, slots[9] - TICK) == 9


@unhurried
@given(cadences(), instants(), instants(), instants())
def test_counts_add_up(cadence: Cadence, one: datetime, two: datetime, three: datetime) -> None:
    first, second, third = sorted((one, two, three))
    assert cadence.count(first, second) + cadence.count(second, third) == cadence.count(first, third)


@unhurried
@given(crons(), instants())
def test_a_row_keeps_to_what_clocks_show_minute_by_minute(row: Cron, start: datetime) -> None:
    after = start.replace(second=0)
    until = after + timedelta(hours=6)
    assert row.slots(after, until, 1000) == tuple(slots_by_watching_the_clock(row, after, until))


def slots_by_watching_the_clock(row: Cron, after: datetime, until: datetime) -> list[datetime]:
    """Do it as somebody would who looks at the clock each minute, and remembers how far it got."""
    slots, seen = [], None
    for minute in range((until - after) // MINUTE + 1500):
        instant = after + MINUTE * (minute - 1499)
        shown = instant.astimezone(zone(row.zone)).replace(tzinfo=None)
        new = [shown]
        if row.at_fixed_times:
            seen = seen or shown - MINUTE
            new = [seen + MINUTE * n for n in range(1, (shown - seen) // MINUTE + 1)]
            seen = max(seen, shown)
        if instant > after and any(CronSim(row.expression, wall - MINUTE).__next__() == wall for wall in new):
            slots.append(instant)
    return slots


@unhurried
@given(crontabs(), instants())
def test_in_utc_rows_agree_with_another_implementation(expression: str, instant: datetime) -> None:
    row = cron(expression, "UTC")
    ahead, back = CronSim(expression, instant), CronSim(expression, instant, reverse=True)
    assert row.slots(instant, FAR, 5) == tuple(next(ahead) for _ in range(5))
    assert row.latest_slot(instant - TICK) == next(back)


@pytest.mark.parametrize(
    ("at", "latest", "following"),
    [
        (timedelta(days=-400), None, timedelta(0)),  # before the anchor there is none
        (timedelta(0), timedelta(0), timedelta(hours=6)),
        (timedelta(hours=5, minutes=59), timedelta(0), timedelta(hours=6)),
        (timedelta(hours=6), timedelta(hours=6), timedelta(hours=12)),
        (timedelta(days=365), timedelta(days=365), timedelta(days=365, hours=6)),
    ],
)
def test_an_interval_lies_on_a_grid_from_its_anchor(
    at: timedelta, latest: timedelta | None, following: timedelta
) -> None:
    cadence = every(hours=6).anchored(ANCHOR)
    assert cadence.latest_slot(ANCHOR + at) == (None if latest is None else ANCHOR + latest)
    assert cadence.slot_after(ANCHOR + at) == ANCHOR + following


def test_an_interval_is_elapsed_time_whatever_the_zone_of_its_anchor() -> None:
    local = datetime(2024, 3, 9, 12, tzinfo=zone("America/New_York"))
    daily = every(days=1).anchored(local)
    assert daily.slot_after(local).astimezone(local.tzinfo).hour == 13
    assert daily == Every(timedelta(days=1), local.astimezone(UTC))


@pytest.mark.parametrize("period", [timedelta(0), timedelta(seconds=1.5), timedelta(days=-1), timedelta.max])
def test_a_period_nobody_can_keep_is_refused(period: timedelta) -> None:
    with pytest.raises(BadSchedule, match="use whole seconds"):
        Every(period, ANCHOR)


@unhurried
@given(cadences())
def test_a_cadence_is_the_same_after_being_stored(cadence: Cadence) -> None:
    assert cadence_from(json.loads(json.dumps(cadence.to_spec()))) == cadence
    assert pickle.loads(pickle.dumps(cadence)) == cadence  # noqa: S301 - what was just written


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "'kind'"),
        ({"kind": "lunar"}, "'lunar' is not known"),
        ({"kind": "cron", "expression": "0 3 * * *"}, "'zone'"),
        ({"kind": "every", "seconds": "soon", "anchor": "2027-01-01T00:00Z"}, "'soon'"),
        ({"kind": "every", "seconds": 60, "anchor": "2027-01-01T00:00"}, "no time zone"),
        ({"kind": "every", "seconds": 10**20, "anchor": "2027-01-01T00:00Z"}, "cannot be read"),
    ],
)
def test_a_stored_cadence_that_makes_no_sense_is_refused(spec: dict[str, object], reason: str) -> None:
    with pytest.raises(BadSchedule, match=reason):
        cadence_from(spec)


@pytest.mark.parametrize(
    ("cadence", "words"),
    [
        (every(hours=24), "every day"),
        (every(minutes=90), "every 90 minutes"),
        (cron("0 3 * * *", "Europe/Berlin"), "every day at 03:00, Europe/Berlin time"),
        (cron("30 9,17 * * mon-fri", "UTC"), "every Monday to Friday at 09:30 and 17:30, UTC time"),
        (cron("0 8 * * 0,3,sat", "UTC"), "every Sunday, Wednesday and Saturday at 08:00, UTC time"),
        (cron("0 8 1,15 * *", "UTC"), "on day 1 and 15 of each month at 08:00, UTC time"),
        (cron("0 8 L * *", "UTC"), "on the last day of each month at 08:00, UTC time"),
        (cron("*/15 * * * *", "UTC"), "every 15 minutes, UTC time"),
        (cron("15 * * * 1", "UTC"), "every hour at minute 15, every Monday, UTC time"),
        (cron("@hourly", "UTC"), "every hour at minute 0, UTC time"),
        (cron("*/7 * * * *", "UTC"), "cron */7 * * * *, UTC time"),  # not every seven minutes
        (cron("0 0 29 2 *", "UTC"), "cron 0 0 29 2 *, UTC time"),
        (cron("5-8  0   *   *  *", "UTC"), "cron 5-8 0 * * *, UTC time"),
    ],
)
def test_a_cadence_says_itself_in_few_words(cadence: Cadence, words: str) -> None:
    assert cadence.describe() == words


@pytest.mark.parametrize(
    ("cadence", "period"),
    [
        (every(hours=6), timedelta(hours=6)),
        (cron("*/5 * * * *", "UTC"), timedelta(minutes=5)),
        (cron("0 9 * * 1-5", "UTC"), timedelta(days=1)),  # the weekend is not usual
        (cron("0 9-17 * * 1-5", "UTC"), timedelta(hours=1)),  # nor is the night
        (cron("30 2 * * *", "America/New_York"), timedelta(days=1)),
        (cron("0 0 29 2 *", "UTC"), timedelta(days=1461)),
    ],
)
def test_the_typical_period_is_the_usual_one(cadence: Cadence, period: timedelta) -> None:
    assert cadence.typical_period() == period
