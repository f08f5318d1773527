"""
Reading a cron expression, and refusing what cannot be kept.

croniter reads it; what croniter accepts but nobody means (seconds, years, random fields, ranges that it
turns into something else, days that never come) is refused here, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from croniter import croniter
from croniter.croniter import DOW_ALPHAS, M_ALPHAS

from nightshift.base.errors import BadSchedule
from nightshift.time.wall_clock import EACH, LAST, Days, Walls

LONGEST_EXPRESSION = 200

FIELDS = (
    ("minute", range(60), "0-59"),
    ("hour", range(24), "0-23"),
    ("day of month", range(1, 32), "1-31, or L for the last day"),
    ("month", range(1, 13), "1-12 or jan-dec"),
    ("weekday", range(7), "0-7 or sun-sat, such as 2#1 for the first Tuesday or L5 for the last Friday"),
)
LAYOUT = "write: minute hour day-of-month month weekday, such as '0 3 * * *'"
ALIASES = "known names are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"

_RANGE = re.compile(r"(\w+)-(\w+)(/\d+)?(?:#\d)?", re.ASCII)
_NAMES = {**M_ALPHAS, **DOW_ALPHAS, "l": 31}


@dataclass(frozen=True)
class Crontab:
    """A cron expression that has been understood."""

    expression: str
    walls: Walls
    #: Whether it says at which hours to run, rather than every so many of them.
    names_hours: bool


@lru_cache(maxsize=1024)
def read_crontab(expression: str) -> Crontab:
    """Understand a cron expression of five fields, or say why it is refused."""
    if len(expression) > LONGEST_EXPRESSION:
        raise BadSchedule(
            f"cron expression {expression[:40]!r}... has {len(expression)} characters, "
            f"more than {LONGEST_EXPRESSION}: write several schedules"
        )
    fields = expression.lower().split()
    for reason in _reasons_to_refuse(fields):
        raise BadSchedule(f"cron expression {expression!r} {reason}")
    parsed = _parsed(fields)
    if parsed is None:
        raise BadSchedule(f"cron expression {expression!r} {_what_is_wrong(fields)}")

    minutes, hours, days, months, weekdays = (
        _values(cast(list[int | str], field), known)
        for field, (_, known, _) in zip(parsed.expanded, FIELDS, strict=True)
    )
    nth = cast(dict[int, set[int | str]], {} if "*" in parsed.expanded[4] else parsed.nth_weekday_of_month)
    matching = Days(
        of_month=days,
        months=months,
        weekdays=frozenset((day, which) for day in nth for which in _values(nth[day]))
        or frozenset((day, EACH) for day in weekdays),
        # As in cron itself: a star in front leaves a field open, so with */2 both have to match.
        either=not any(parsed.expressions[field].startswith(("*", "?")) for field in (2, 4)),
    )
    if not matching.ever_come():
        raise BadSchedule(f"cron expression {expression!r} names a day that never comes: change day or month")
    stepped = any(mark in parsed.expressions[1] for mark in "*/")
    return Crontab(
        expression=" ".join(parsed.expressions),
        walls=Walls(minutes=tuple(sorted(minutes)), hours=tuple(sorted(hours)), days=matching),
        # */24 leaves one hour, which is as good as named; 0-23 leaves them all, which names none.
        names_hours=len(hours) == 1 or (len(hours) < 24 and not stepped),
    )


def _values(field: Collection[int | str], known: Iterable[int] = ()) -> frozenset[int]:
    return frozenset(known if "*" in field else (LAST if value == "l" else int(value) for value in field))


def _parsed(fields: list[str]) -> croniter[float] | None:
    try:
        # The start is of no interest, but without one croniter reads the clock.
        return croniter(" ".join(fields), start_time=0.0)
    except ValueError:
        return None


def _reasons_to_refuse(fields: list[str]) -> Iterator[str]:
    """Say what croniter would accept and take for something else."""
    if fields == ["@reboot"]:
        yield "is no time; use an interval, whose first run can be chosen"
    if len(fields) != len(FIELDS) and not (len(fields) == 1 and fields[0].startswith("@")):
        yield f"has {len(fields)} fields instead of 5, there is none for seconds or years; {LAYOUT}"
    for (name, _, _), field in zip(FIELDS, fields, strict=False):
        if field.startswith(("r", "h")):
            yield f"has the random {name} {field!r}; write a number, and use jitter to spread load"
        if name == "day of month" and "w" in field:
            yield f"has the nearest-weekday {name} {field!r}; name a day or a weekday"
        for part in field.split(","):
            found = _RANGE.fullmatch(part)
            low, high = (_number(bound) for bound in found.group(1, 2)) if found else (None, None)
            if found is None or low is None or high is None:
                continue
            if low == high:
                # croniter takes 9-9 for every value there is.
                yield f"has the {name} range {part!r}; write the one value, or * for all"
            if low > high and found[3]:
                # croniter loses count where such a range turns over.
                yield f"has the {name} range {part!r}, which steps past its end; write the values"


def _number(bound: str) -> int | None:
    return int(bound) if bound.isdecimal() else _NAMES.get(bound)


def _what_is_wrong(fields: list[str]) -> str:
    if len(fields) == 1:
        return f"is not understood; {ALIASES}"
    for position, (field, (name, _, allowed)) in enumerate(zip(fields, FIELDS, strict=True)):
        if _parsed(["*"] * position + [field] + ["*"] * (len(FIELDS) - position - 1)) is None:
            return f"has the {name} {field!r}; allowed are {allowed}"
    return f"is not understood; {LAYOUT}"
