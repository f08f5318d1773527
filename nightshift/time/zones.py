"""
Time zones, and the instants at which their clocks change.

Zones come from the tzdata package rather than from the machine, so that every process
installed from the same lock file computes the same instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.resources import files
from math import ceil, floor
from zoneinfo import ZoneInfo

from nightshift.base.errors import BadSchedule

DAY = timedelta(days=1)
YEAR = timedelta(days=366)
#: The finest step a datetime can take.
TICK = timedelta.resolution

LONGEST_NAME = 64


@cache
def zone_names() -> frozenset[str]:
    """Every IANA zone a schedule may use."""
    names = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return frozenset(names) - {"Factory"}


@cache
def zone(name: str) -> ZoneInfo:
    """Give the zone of this IANA name."""
    if name not in zone_names():
        raise BadSchedule(f"time zone {name[:LONGEST_NAME]!r} is not known; {_nearest_names(name)}")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)


def _nearest_names(name: str) -> str:
    by_lower = {known.lower(): known for known in sorted(zone_names())}
    by_lower |= {known.rpartition("/")[2].lower(): known for known in sorted(zone_names())}
    wanted = name[:LONGEST_NAME].lower().replace(" ", "_")
    near = dict.fromkeys(by_lower[match] for match in get_close_matches(wanted, by_lower))
    return f"did you mean {' or '.join(near)}?" if near else "use an IANA name such as Europe/Berlin"


def tzdata_version() -> str:
    """Name the edition of the zone rules in use, such as 2026f."""
    return str(import_module("tzdata").IANA_VERSION)


def in_utc(instant: datetime) -> datetime:
    """Give the same instant in UTC; a datetime without a zone is no instant."""
    if instant.tzinfo is None:
        raise BadSchedule(f"{instant} has no time zone; pass an aware datetime, such as datetime.now(UTC)")
    return instant.astimezone(UTC)


def offset(local: datetime) -> timedelta:
    """Tell how far clocks are ahead of UTC at this local time."""
    return local.utcoffset() or timedelta(0)


def changes(clock: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """Find the instants later than ``after``, up to ``until``, at which this zone's clocks change."""
    while after < until:
        # Nowhere have clocks changed twice within a day.
        probe = min(after + DAY, until)
        if offset(after.astimezone(clock)) != offset(probe.astimezone(clock)):
            yield _first_second_unlike(clock, after, probe)
        after = probe


def _first_second_unlike(clock: ZoneInfo, before: datetime, after: datetime) -> datetime:
    old, low, high = offset(before.astimezone(clock)), floor(before.timestamp()), ceil(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if offset(datetime.fromtimestamp(middle, clock)) == old:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
