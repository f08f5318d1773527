from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import BadSchedule
from nightshift.time.cadence import Cadence, cron, every, require_gap
from nightshift.time.crontab import read_crontab
from nightshift.time.wall_clock import _bits
from tests.nightshift.time.strategies import unhurried

NOW = datetime(2027, 1, 20, 10, 7, tzinfo=UTC)
NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "0 fields instead of 5"),
        ("* * * *", "4 fields instead of 5"),
        ("* * * * * *", "none for seconds or years"),  # croniter: every second
        ("0 0 1 1 * 0 2030", "none for seconds or years"),
        ("R 3 * * *", "random minute 'r'"),  # another minute each time it is read
        ("0 R(0-5) * * *", "random hour"),
        ("H 3 * * *", "random minute 'h'"),
        ("@reboot", "is no time"),
        ("@fortnightly", "known names are @hourly"),
        ("0 0 31 2 *", "a day that never comes"),
        ("0 0 31 4,6,9,11 *", "a day that never comes"),
        ("0 25 * * *", "hour '25'; allowed are 0-23"),
        ("0 3 * * someday", "weekday 'someday'"),
        ("0 3 0 * *", "day of month '0'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("-5 * * * *", "minute '-5'"),
        ("0 3 15W * *", "nearest-weekday"),
        ("0 9-9 * * *", "write the one value"),  # croniter: every hour
        ("0 0 * * mon-1", "write the one value"),
        ("0 22-5/3 * * *", "steps past its end"),  # croniter: 22, 2, 5
        ("0 0 20-L/5 * foo", "weekday 'foo'"),  # the range is fine
        (",".join(["0"] * 200) + " * * * *", "more than 200"),
        ("0 3 * * *" + " " * 10_000_000, "more than 200"),  # and not repeated in full
    ],
)
def test_an_expression_that_cannot_be_kept_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(BadSchedule) as refused:
        cron(expression, "UTC")
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 500


@unhurried
@given(st.text(alphabet="0123456789*/,-# lwrh?@adefijmnosu\u0661\u00a0", max_size=210))
def test_whatever_is_written_is_understood_or_refused(expression: str) -> None:
    with suppress(BadSchedule):
        cron(expression, "UTC").slot_after(NOW)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",  # the most slots
        "59,0 0,23 1-30 1-11 0-5",  # each day looked at, and the night between them counts
        "0 0 31 2 *",  # all years of the calendar looked at
        "0 0 * 2 1#5",  # decades to the next
        "36/7,6,24/1,45-1,56-55,43-9,*/5 22,*,14/7 5/9,2-1 * 2,3-2,4-3,*/5",  # much to read
    ],
)
def test_no_expression_takes_long_to_accept_or_refuse(expression: str) -> None:
    read_crontab.cache_clear()
    _bits.cache_clear()
    started = time.process_time()
    with suppress(BadSchedule):
        require_gap(cron(expression, NEW_YORK), timedelta(minutes=5), since=NOW)
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    ("cadence", "closest"),
    [
        (cron("*/5 * * * *", "UTC"), timedelta(minutes=5)),
        (cron("*/7 * * * *", "UTC"), timedelta(minutes=4)),  # from :56 to the full hour
        (cron("0,58 * * * *", "UTC"), timedelta(minutes=2)),
        (cron("0,59 0,23 * * *", "UTC"), timedelta(minutes=1)),  # over midnight
        (cron("0,59 0,23 1,15 * *", "UTC"), timedelta(minutes=59)),  # no two days in a row
        (cron("59 23 31 12 *", "UTC"), timedelta(days=366)),  # once a year, 2028 is a leap year
        (cron("30 2,3 * * *", "UTC"), timedelta(hours=1)),
        (cron("30 2,3 * * *", NEW_YORK), timedelta(minutes=30)),  # in spring 02:30 comes at 03:00
        (cron("0 0,3 * * *", NEW_YORK), timedelta(hours=2)),  # in spring
        (cron("0,59 */2 * * *", "Europe/Berlin"), timedelta(minutes=1)),  # in autumn 02:59 and 02:00
        (every(minutes=3), timedelta(minutes=3)),
    ],
)
def test_the_smallest_gap_is_found_to_the_second(cadence: Cadence, closest: timedelta) -> None:
    require_gap(cadence, closest, since=NOW)
    with pytest.raises(BadSchedule, match="leave at least"):
        require_gap(cadence, closest + timedelta(seconds=1), since=NOW)


def test_a_row_in_an_unknown_zone_is_refused_when_it_is_made() -> None:
    with pytest.raises(BadSchedule, match="Europe/Berlin"):
        cron("0 3 * * *", "Europe/Berlim")
