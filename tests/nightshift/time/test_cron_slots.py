"""The slots of cron rows on the days that make them hard, written as clocks show them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from nightshift.time.cadence import cron
from nightshift.time.zones import zone

NEW_YORK, LONDON, BERLIN = "America/New_York", "Europe/London", "Europe/Berlin"
LORD_HOWE, HAVANA, BEIRUT = "Australia/Lord_Howe", "America/Havana", "Asia/Beirut"

# fmt: off
NAMED_HOURS = [
    # skipped: the first minute after the gap, and as named on the next day
    (NEW_YORK, "2024-03-09 12:00", "30 2 * * *", "10 03:00-0400, 11 02:30-0400"),
    # repeated: the first of the two
    (NEW_YORK, "2024-11-02 12:00", "30 1 * * *", "03 01:30-0400, 04 01:30-0500"),
    # every minute named inside the gap is one slot, not twenty
    (NEW_YORK, "2024-03-09 12:00", "*/3 2 * * *", "10 03:00-0400, 11 02:00-0400"),
    # a list that runs through the gap: what was skipped joins the 03:00 that is named as well
    (NEW_YORK, "2024-03-10 01:15", "0,30 1-3 * * *", "10 01:30-0500, 10 03:00-0400, 10 03:30-0400"),
    # a list that runs through the repeated hour: each named time once
    (NEW_YORK, "2024-11-03 01:15", "0,30 1-3 * * *", "03 01:30-0400, 03 02:00-0500, 03 02:30-0500"),
    (LONDON, "2024-03-30 12:00", "30 1 * * *", "31 02:00+0100, 01 01:30+0100"),
    (LONDON, "2024-10-26 12:00", "30 1 * * *", "27 01:30+0100, 28 01:30+0000"),
    # a shift of half an hour, either way
    (LORD_HOWE, "2024-10-05 12:00", "15 2 * * *", "06 02:30+1100, 07 02:15+1100"),
    (LORD_HOWE, "2024-04-06 12:00", "45 1 * * *", "07 01:45+1100, 08 01:45+1030"),
    # the day has no midnight, or two
    (HAVANA, "2024-03-09 12:00", "0 0 * * *", "10 01:00-0400, 11 00:00-0400"),
    (HAVANA, "2024-11-02 12:00", "0 0 * * *", "03 00:00-0400, 04 00:00-0500"),
    (BEIRUT, "2024-03-30 12:00", "15 0 * * *", "31 01:00+0300, 01 00:15+0300"),
    # the last hour of the day twice: the date is set back too
    (BEIRUT, "2024-10-26 12:00", "30 23 * * *", "26 23:30+0300, 27 23:30+0200"),
    # a step that leaves one hour names it
    (HAVANA, "2024-11-02 12:00", "0 */24 * * *", "03 00:00-0400, 04 00:00-0500"),
    # a day that the calendar left out
    ("Pacific/Apia", "2011-12-29 12:00", "0 9 * * *", "31 00:00+1400, 31 09:00+1400, 01 09:00+1400"),
]
OPEN_HOURS = [
    # none in the gap, and half an hour in between all the same
    (NEW_YORK, "2024-03-10 01:15", "*/30 * * * *", "10 01:30-0500, 10 03:00-0400, 10 03:30-0400"),
    # in both of the repeated hours
    (NEW_YORK, "2024-11-03 01:15", "*/30 * * * *", "03 01:30-0400, 03 01:00-0500, 03 01:30-0500"),
    (NEW_YORK, "2024-03-10 00:30", "15 * * * *", "10 01:15-0500, 10 03:15-0400"),
    (NEW_YORK, "2024-11-03 00:30", "15 * * * *", "03 01:15-0400, 03 01:15-0500, 03 02:15-0500"),
    (LONDON, "2024-10-27 00:30", "0 * * * *", "27 01:00+0100, 27 01:00+0000, 27 02:00+0000"),
    # all hours named are no hours named
    (LONDON, "2024-10-27 00:30", "0 0-23 * * *", "27 01:00+0100, 27 01:00+0000, 27 02:00+0000"),
    # a step is a rhythm: the hour that is missing is left out, the one that is there twice counts twice
    (NEW_YORK, "2024-03-09 23:30", "0 */2 * * *", "10 00:00-0500, 10 04:00-0400"),
    (BERLIN, "2024-10-27 01:30", "0 */2 * * *", "27 02:00+0200, 27 02:00+0100, 27 04:00+0100"),
    (LORD_HOWE, "2024-10-06 01:10", "*/30 * * * *", "06 01:30+1030, 06 02:30+1100, 06 03:00+1100"),
    (LORD_HOWE, "2024-04-07 01:40", "*/15 * * * *", "07 01:45+1100, 07 01:30+1030, 07 01:45+1030"),
    (BEIRUT, "2024-10-26 22:30", "0 * * * *", "26 23:00+0300, 26 23:00+0200, 27 00:00+0200"),
]
CALENDAR = [
    # the leap day, also over the century that has none
    ("0 0 29 2 *", "2027-01-01", "2028-02-29, 2032-02-29"),
    ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
    # months without a 31st are left out; the last day is in each
    ("0 0 31 * *", "2027-01-31", "2027-03-31, 2027-05-31"),
    ("0 0 L * *", "2027-02-01", "2027-02-28, 2027-03-31"),
    ("0 0 31 12 *", "2027-12-31", "2028-12-31"),
    ("0 0 1 1 *", "2027-12-31", "2028-01-01"),
    # a day of the month or a weekday
    ("0 0 13 * fri", "2027-08-01", "2027-08-06, 2027-08-13, 2027-08-20"),
    # with a star in front, both
    ("0 0 */2 * mon", "2027-08-01", "2027-08-09, 2027-08-23"),
    # the fifth and the last of a weekday, and one that comes once in 28 years
    ("0 0 * * 2#5", "2027-01-01", "2027-03-30, 2027-06-29"),
    ("0 0 * * L5", "2027-01-01", "2027-01-29, 2027-02-26"),
    ("0 0 * 2 1#5", "2027-01-01", "2044-02-29"),
    # any weekday is any weekday, whatever else is in the list
    ("0 0 * * 1#1,*", "2027-08-01", "2027-08-02, 2027-08-03"),
    # Sunday has two numbers; ranges run on past the end of the week
    ("0 0 * * 7", "2027-08-01", "2027-08-08"),
    ("0 0 * * sat-sun", "2027-08-01", "2027-08-07, 2027-08-08, 2027-08-14"),
    ("@monthly", "2027-08-01", "2027-09-01"),
]
# fmt: on


@pytest.mark.parametrize(("place", "after", "expression", "shown"), NAMED_HOURS + OPEN_HOURS)
def test_slots_where_clocks_change(place: str, after: str, expression: str, shown: str) -> None:
    row, clock = cron(expression, place), zone(place)
    start = datetime.fromisoformat(after).replace(tzinfo=clock)
    expected = shown.split(", ")

    slots = row.slots(start, datetime.max.replace(tzinfo=UTC), len(expected))

    assert [local(slot, clock) for slot in slots] == expected
    assert row.count(start, slots[-1]) == len(expected)
    assert tuple(row.latest_slot(slot) for slot in slots) == slots


@pytest.mark.parametrize(("expression", "after", "days"), CALENDAR)
def test_days_that_match(expression: str, after: str, days: str) -> None:
    expected = days.split(", ")
    start = datetime.fromisoformat(after).replace(tzinfo=UTC)

    slots = cron(expression, "UTC").slots(start, datetime.max.replace(tzinfo=UTC), len(expected))

    assert [f"{slot:%Y-%m-%d}" for slot in slots] == expected


def test_a_count_from_the_middle_of_a_repeated_hour_takes_nothing_twice() -> None:
    row, clock = cron("* 1 * * *", NEW_YORK), zone(NEW_YORK)
    second_time = datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=clock)
    assert row.count(second_time, datetime(2024, 11, 4, 0, 59, tzinfo=clock)) == 0


def test_a_count_from_after_a_gap_leaves_out_what_ran_at_its_end() -> None:
    row, clock = cron("30 2 * * *", NEW_YORK), zone(NEW_YORK)
    gap_end = datetime(2024, 3, 10, 3, tzinfo=clock)
    assert row.count(gap_end, datetime(2024, 3, 11, 2, 29, tzinfo=clock)) == 0


def test_there_is_no_slot_before_the_calendar_begins() -> None:
    assert cron("0 0 29 2 *", "UTC").latest_slot(datetime(3, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("0 3 * * *", True),  # one time
        ("0,30 9-17 * * 1-5", True),  # many times, each named
        ("*/10 2 * * *", True),  # it is the hour that counts
        ("15 * * * *", False),  # any hour
        ("0 */6 * * *", False),  # a rhythm
    ],
)
def test_a_row_that_names_its_hours_is_at_fixed_times(expression: str, named: bool) -> None:
    assert cron(expression, "UTC").at_fixed_times is named


def local(slot: datetime, clock: ZoneInfo) -> str:
    return f"{slot.astimezone(clock):%d %H:%M%z}"
