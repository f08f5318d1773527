"""
When something recurs: every so often, or at the times a cron expression names in a zone.

A slot is one instant of a cadence. Which slots there are follows from the cadence alone: never from
when the question is asked, nor from when a process started.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol
from zoneinfo import ZoneInfo

from nightshift.base.errors import BadSchedule
from nightshift.time.crontab import Crontab, read_crontab
from nightshift.time.words import describe_crontab, describe_period
from nightshift.time.zones import DAY, TICK, YEAR, changes, in_utc, offset, zone

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_PERIOD = timedelta(days=3660)

type Spec = dict[str, str | int]


class Cadence(Protocol):
    """A rule for when something recurs. Instants go in with any zone and come out in UTC."""

    @property
    @abstractmethod
    def at_fixed_times(self) -> bool:
        """Whether it names its times of day, so that a delay would be noticed."""

    @abstractmethod
    def slot_after(self, instant: datetime) -> datetime:
        """Give the first slot later than this instant."""

    @abstractmethod
    def latest_slot(self, at: datetime) -> datetime | None:
        """Give the last slot at or before this instant, or None if there was none yet."""

    @abstractmethod
    def count(self, after: datetime, until: datetime) -> int:
        """Count the slots later than ``after``, up to and including ``until``, without visiting them."""

    @abstractmethod
    def smallest_gap(self, since: datetime) -> timedelta:
        """Give the least time between two slots, over a year from the first slot after ``since``."""

    @abstractmethod
    def typical_period(self) -> timedelta:
        """Give the usual time from one slot to the next."""

    @abstractmethod
    def anchored(self, at: datetime) -> Cadence:
        """Give the same cadence with a slot at this instant, where it is free to choose."""

    @abstractmethod
    def describe(self) -> str:
        """Say it in a few words."""

    @abstractmethod
    def to_spec(self) -> Spec:
        """Give what ``cadence_from`` needs to build it again, ready for JSON."""

    def slots(self, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
        """Give the first slots later than ``after``, up to and including ``until``."""
        found: list[datetime] = []
        while len(found) < limit and (slot := self.slot_after(found[-1] if found else after)) <= until:
            found.append(slot)
        return tuple(found)


@dataclass(frozen=True)
class Every(Cadence):
    """A slot at the anchor and each period after it, in elapsed time."""

    period: timedelta
    anchor: datetime = EPOCH

    def __post_init__(self) -> None:
        if not timedelta(seconds=1) <= self.period <= LONGEST_PERIOD or self.period.microseconds:
            raise BadSchedule(f"period {self.period} is refused; use whole seconds, from one up to ten years")
        object.__setattr__(self, "anchor", in_utc(self.anchor))

    @property
    def at_fixed_times(self) -> bool:
        return False

    def slot_after(self, instant: datetime) -> datetime:
        return self.anchor + self.period * self._so_far(instant)

    def latest_slot(self, at: datetime) -> datetime | None:
        so_far = self._so_far(at)
        return self.anchor + self.period * (so_far - 1) if so_far else None

    def count(self, after: datetime, until: datetime) -> int:
        return max(0, self._so_far(until) - self._so_far(after))

    def smallest_gap(self, since: datetime) -> timedelta:
        return self.period

    def typical_period(self) -> timedelta:
        return self.period

    def anchored(self, at: datetime) -> Every:
        return Every(self.period, at)

    def describe(self) -> str:
        return describe_period(self.period)

    def to_spec(self) -> Spec:
        seconds = self.period // timedelta(seconds=1)
        return {"kind": "every", "seconds": seconds, "anchor": self.anchor.isoformat()}

    def _so_far(self, instant: datetime) -> int:
        return max(0, (in_utc(instant) - self.anchor) // self.period + 1)


@dataclass(frozen=True)
class Cron(Cadence):
    """
    A slot at each time that a cron expression names, as the clocks of a zone show it.

    Where the expression names its hours, each time named comes once a day: an hour that is repeated
    counts the first time, an hour that is skipped comes at the first minute after the gap. Where it
    does not, each time counts that clocks really show.
    """

    expression: str
    zone: str
    _crontab: Crontab = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        crontab = read_crontab(self.expression)
        object.__setattr__(self, "expression", crontab.expression)
        object.__setattr__(self, "_crontab", crontab)
        zone(self.zone)  # refused here rather than when it is first due

    @property
    def at_fixed_times(self) -> bool:
        return self._crontab.names_hours

    def slot_after(self, instant: datetime) -> datetime:
        instant = in_utc(instant)
        return min(self._first_after(instant, fold) for fold in self._folds())

    def latest_slot(self, at: datetime) -> datetime | None:
        at = in_utc(at)
        return max(filter(None, (self._last_up_to(at, fold) for fold in self._folds())), default=None)

    def count(self, after: datetime, until: datetime) -> int:
        after, until = in_utc(after), in_utc(until)
        walls, found, shown = self._crontab.walls, 0, None
        # From a day earlier on, so that an hour which is being repeated is known to be.
        turns = (change - TICK for change in changes(self._clock, after - DAY, until))
        for start, end in pairwise((after - DAY, *turns, until)):
            local = end.astimezone(self._clock)
            low, high = _wall(max(start, after), local), _wall(end, local)
            if self._crontab.names_hours and shown is not None:
                skipped = start >= after and walls.count(shown, low)
                if skipped and not walls.count(low, low + TICK):
                    found += 1
                low = max(low, shown)
            found += walls.count(low, high)
            shown = high
        return found

    def smallest_gap(self, since: datetime) -> timedelta:
        first = self.slot_after(since)
        gaps = [self._crontab.walls.smallest_gap(first.astimezone(self._clock).date())]
        for change in changes(self._clock, first, first + YEAR):
            before = self.latest_slot(change - TICK) or first
            at_or_after = self.slot_after(change - TICK)
            gaps += [at_or_after - before, self.slot_after(at_or_after) - at_or_after]
        return min(gaps)

    def typical_period(self) -> timedelta:
        return self._crontab.walls.usual_gap()

    def anchored(self, at: datetime) -> Cron:
        return self

    def describe(self) -> str:
        return f"{describe_crontab(self.expression)}, {self.zone} time"

    def to_spec(self) -> Spec:
        return {"kind": "cron", "expression": self.expression, "zone": self.zone}

    @property
    def _clock(self) -> ZoneInfo:
        return zone(self.zone)

    def _folds(self) -> tuple[int, ...]:
        return (0,) if self._crontab.names_hours else (0, 1)

    def _first_after(self, instant: datetime, fold: int) -> datetime:
        wall = self._crontab.walls.after(min(self._walls_around(instant)))
        while (slot := self._shown(wall, fold)) is None or slot <= instant:
            wall = self._crontab.walls.after(wall)
        return slot

    def _last_up_to(self, instant: datetime, fold: int) -> datetime | None:
        wall = self._crontab.walls.up_to(max(self._walls_around(instant)))
        while wall is not None and ((slot := self._shown(wall, fold)) is None or slot > instant):
            wall = self._crontab.walls.up_to(wall - TICK)
        return slot if wall is not None else None

    def _shown(self, wall: datetime, fold: int) -> datetime | None:
        """Give the instant at which clocks show this, for the first or (fold 1) the last time."""
        first, last = (wall.replace(tzinfo=self._clock, fold=each).astimezone(UTC) for each in (0, 1))
        if first <= last:
            return last if fold else first
        # Clocks never show it: the two readings, before and after the gap, are the wrong way round.
        return next(changes(self._clock, last, first)) if self._crontab.names_hours else None

    def _walls_around(self, instant: datetime) -> tuple[datetime, datetime]:
        """Give what clocks show, and what they would have shown had they not just been set back."""
        local = instant.astimezone(self._clock)
        first, last = (_wall(instant, local.replace(fold=fold)) for fold in (0, 1))
        return last, first


def _wall(instant: datetime, like: datetime) -> datetime:
    """Give what clocks show at an instant if they are as far ahead as this local time is."""
    return instant.replace(tzinfo=None) + offset(like)


def require_gap(cadence: Cadence, minimum: timedelta, since: datetime) -> None:
    """Refuse a cadence with two slots closer than this, in a year from its first slot after ``since``."""
    found = cadence.smallest_gap(since)
    if found < minimum:
        raise BadSchedule(
            f"{cadence.describe()!r} has slots {found} apart; leave at least {minimum} between them"
        )


def every(*, days: int = 0, hours: int = 0, minutes: int = 0, seconds: int = 0) -> Every:
    """Recur every so often. Whoever starts it says from when on, with ``anchored``."""
    return Every(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))


def cron(expression: str, zone: str) -> Cron:
    """Recur at the times a cron expression names in a zone."""
    return Cron(expression, zone)


def cadence_from(spec: Mapping[str, object]) -> Cadence:
    """Build the cadence that ``to_spec`` described."""
    try:
        match spec["kind"]:
            case "cron":
                return Cron(str(spec["expression"]), str(spec["zone"]))
            case "every":
                anchor = datetime.fromisoformat(str(spec["anchor"]))
                return Every(timedelta(seconds=int(str(spec["seconds"]))), anchor)
            case kind:
                raise BadSchedule(f"cadence kind {kind!r} is not known; use 'every' or 'cron'")
    except (KeyError, ValueError, OverflowError) as error:
        raise BadSchedule(
            f"cadence {dict(spec)!r} cannot be read ({error!r}); store what to_spec() gives"
        ) from error
