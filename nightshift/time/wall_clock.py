"""
Times on a wall clock, as a cron expression names them, before any zone is applied.

The days are kept as one bit for each day of a year, so that what comes next, what came last and how
many there were cost the same after three years away as after a minute, and for an expression written
to be expensive as for a plain one. Naive datetimes throughout: a wall clock has no zone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from statistics import median_low

from nightshift.time.zones import DAY, YEAR

#: Which weekday of the month is meant, where it is not the first to the fifth.
EACH = 0
#: Counted from the end, as list indices are.
LAST = -1

#: How many gaps are looked at to say which one is usual, and from when on.
SAMPLE = 60
A_MONDAY = datetime(2001, 1, 1)  # noqa: DTZ001 - a wall clock has no zone


@dataclass(frozen=True)
class Days:
    """The days an expression names."""

    of_month: frozenset[int]
    months: frozenset[int]
    #: The weekday, Sunday being 0, and which one of the month: EACH, 1 to 5, or LAST.
    weekdays: frozenset[tuple[int, int]]
    #: Whether a day of the month or a weekday is enough, or both must match.
    either: bool

    def in_year(self, year: int) -> int:
        """Give one bit for each day of the year, the lowest for 1 January."""
        new_year = date(year, 1, 1)
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return _bits(self, new_year.isoweekday() % 7, leap)

    def ever_come(self) -> bool:
        """Tell whether any day matches, in any of the fourteen years a calendar can have."""
        return any(_bits(self, weekday, leap) for weekday in range(7) for leap in (False, True))


@lru_cache(maxsize=4096)
def _bits(days: Days, first_weekday: int, leap: bool) -> int:
    bits, start = 0, 0
    for month, length in enumerate((31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1):
        for day in range(1, length + 1) if month in days.months else ():
            weekday = (first_weekday + start + day - 1) % 7
            by_day = day in days.of_month or (day == length and LAST in days.of_month)
            by_weekday = (
                (weekday, EACH) in days.weekdays
                or (weekday, (day + 6) // 7) in days.weekdays
                or (day + 7 > length and (weekday, LAST) in days.weekdays)
            )
            if (by_day or by_weekday) if days.either else (by_day and by_weekday):
                bits |= 1 << (start + day - 1)
        start += length
    return bits


@dataclass(frozen=True)
class Walls:
    """The wall-clock times an expression names: on each of its days, each of its minutes in each hour."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days

    def after(self, wall: datetime) -> datetime:
        """Give the first time named later than this one."""
        day, done = wall.date(), self._so_far(wall)
        if self._matches(day) and done < self._per_day():
            return datetime.combine(day, self._time(done))
        return datetime.combine(self._day_after(day), self._time(0))

    def up_to(self, wall: datetime) -> datetime | None:
        """Give the last time named that is not later than this one."""
        day, done = wall.date(), self._so_far(wall)
        if self._matches(day) and done:
            return datetime.combine(day, self._time(done - 1))
        earlier = self._day_before(day)
        return datetime.combine(earlier, self._time(-1)) if earlier else None

    def count(self, after: datetime, until: datetime) -> int:
        """Count the times named that are later than ``after`` and not later than ``until``."""
        if until <= after:
            return 0
        days_of_years = sum(self.days.in_year(year).bit_count() for year in range(after.year, until.year))
        return days_of_years * self._per_day() + self._since_new_year(until) - self._since_new_year(after)

    def smallest_gap(self, first: date) -> timedelta:
        """Give the least time between two times named, over the year that starts on this matching day."""
        times = [datetime.combine(first, self._time(n)) for n in range(self._per_day())]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        overnight, day = times[0] - times[-1], first
        while day - first < YEAR:
            day, before = self._day_after(day), day
            gaps.append(overnight + (day - before))
        return min(gaps)

    def usual_gap(self) -> timedelta:
        """Give the usual time between two times named: the middle one of sixty in a row."""
        walls = [self.after(A_MONDAY)]
        for _ in range(SAMPLE):
            walls.append(self.after(walls[-1]))
        return median_low(later - earlier for earlier, later in pairwise(walls))

    def _per_day(self) -> int:
        return len(self.hours) * len(self.minutes)

    def _time(self, index: int) -> time:
        hour, minute = divmod(index, len(self.minutes))
        return time(self.hours[hour], self.minutes[minute])

    def _so_far(self, wall: datetime) -> int:
        in_whole_hours = bisect_left(self.hours, wall.hour) * len(self.minutes)
        return in_whole_hours + (bisect_right(self.minutes, wall.minute) if wall.hour in self.hours else 0)

    def _since_new_year(self, wall: datetime) -> int:
        whole_days = self.days.in_year(wall.year) & ((1 << _index(wall)) - 1)
        return whole_days.bit_count() * self._per_day() + self._matches(wall) * self._so_far(wall)

    def _matches(self, day: date) -> bool:
        return bool(self.days.in_year(day.year) >> _index(day) & 1)

    def _day_after(self, day: date) -> date:
        year, index = day.year, _index(day) + 1
        while not (later := self.days.in_year(year) >> index):
            year, index = year + 1, 0
        return date(year, 1, 1) + DAY * (index + (later & -later).bit_length() - 1)

    def _day_before(self, day: date) -> date | None:
        year, index = day.year, _index(day)
        while not (earlier := self.days.in_year(year) & ((1 << index) - 1)):
            year, index = year - 1, 366
            if year < date.min.year:
                return None
        return date(year, 1, 1) + DAY * (earlier.bit_length() - 1)


def _index(day: date) -> int:
    return day.toordinal() - date(day.year, 1, 1).toordinal()
