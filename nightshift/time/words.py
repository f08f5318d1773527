"""Cadences in a few plain words."""

from __future__ import annotations

import re
from datetime import timedelta

from nightshift.time.zones import DAY

UNITS = {"day": DAY, "hour": DAY / 24, "minute": timedelta(minutes=1), "second": timedelta(seconds=1)}
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: More than this are not worth listing.
FEW = 4


def describe_period(period: timedelta) -> str:
    """Say how often, in the largest unit that fits."""
    unit = next(unit for unit, length in UNITS.items() if not period % length)
    number = period // UNITS[unit]
    return f"every {unit}" if number == 1 else f"every {number} {unit}s"


def describe_crontab(expression: str) -> str:
    """Say what a cron expression means where that takes few words, and quote it otherwise."""
    minute, hour, *days = expression.split()
    on, at = _days(*days), _hourly(minute) if hour == "*" else _times(minute, hour)
    if on is None or at is None:
        return f"cron {expression}"
    return f"{at}, {on}".removesuffix(", every day") if hour == "*" else f"{on} {at}"


def _times(minute: str, hour: str) -> str | None:
    times = [f"{int(h):02}:{int(m):02}" for h in _numbers(hour) for m in _numbers(minute)]
    return f"at {_listed(times)}" if 0 < len(times) <= FEW else None


def _hourly(minute: str) -> str | None:
    step = re.fullmatch(r"\*(?:/(\d+))?", minute)
    if step:
        minutes = int(step[1] or 1)
        return describe_period(timedelta(minutes=minutes)) if 60 % minutes == 0 else None
    numbers = _numbers(minute)
    return f"every hour at minute {_listed(numbers)}" if 0 < len(numbers) <= FEW else None


def _days(day: str, month: str, weekday: str) -> str | None:
    match day, month, weekday:
        case "*", "*", "*":
            return "every day"
        case "l", "*", "*":
            return "on the last day of each month"
        case _, "*", "*" if _numbers(day):
            return f"on day {_listed(_numbers(day))} of each month"
        case "*", "*", _ if re.fullmatch(r"[0-7a-z,-]+", weekday) and not weekday.startswith("l"):
            named = re.sub(r"\w+", lambda found: _weekday(found[0]), weekday)
            return f"every {_listed(named.replace('-', ' to ').split(','))}"
    return None


def _weekday(name: str) -> str:
    if name.isdecimal():
        return WEEKDAYS[int(name)]
    return next(day for day in WEEKDAYS if day.lower().startswith(name))


def _numbers(field: str) -> list[str]:
    return field.split(",") if re.fullmatch(r"\d+(,\d+)*", field) else []


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
