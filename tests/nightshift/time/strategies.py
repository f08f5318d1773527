"""Cadences and instants, drawn near where clocks change as often as not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st

from nightshift.time.cadence import Cadence, Cron, Every
from nightshift.time.zones import changes, zone

#: How long one example takes says nothing on a busy machine.
unhurried = settings(deadline=None)

ZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",  # half an hour
    "America/Havana",  # at midnight
    "Asia/Beirut",  # at midnight, the date set back
    "Africa/Casablanca",  # four times a year
    "Antarctica/Troll",  # two hours
)
YEARS = datetime(2023, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def crontabs() -> st.SearchStrategy[str]:
    """Expressions of the syntax that cron has everywhere."""
    return st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 6)).map(" ".join)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    ranges = (
        st.tuples(value, value)
        .filter(lambda pair: pair[0] < pair[1])
        .map(lambda pair: f"{pair[0]}-{pair[1]}")
    )
    steps = st.integers(1, high).map(lambda step: f"/{step}")
    stepped = st.tuples(st.just("*") | ranges, steps).map("".join)
    part = value.map(str) | ranges | stepped
    return st.just("*") | st.lists(part, min_size=1, max_size=3).map(",".join)


def crons() -> st.SearchStrategy[Cron]:
    return st.builds(Cron, crontabs(), st.sampled_from(ZONES))


def cadences() -> st.SearchStrategy[Cadence]:
    periods = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
    return crons() | st.builds(Every, periods, instants())


CHANGES = sorted(change for name in ZONES for change in changes(zone(name), *YEARS))


def instants() -> st.SearchStrategy[datetime]:
    """Instants of four years, half of them within a day of a clock change somewhere."""
    anywhere = st.integers(0, int((YEARS[1] - YEARS[0]).total_seconds())).map(
        lambda s: YEARS[0] + timedelta(seconds=s)
    )
    near = st.tuples(st.sampled_from(CHANGES), st.integers(-(10**5), 10**5))
    return anywhere | near.map(lambda drawn: drawn[0] + timedelta(seconds=drawn[1]))
