"""Runs and what comes next, laid out on a line of time: one lane a source, places in percent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.base.instants import to_ms
from nightshift.runs.row import RunRow
from nightshift.runs.search import last_change
from nightshift.status.upcoming import Upcoming

#: How much of the line lies behind, and how much ahead, by the name that people choose it by.
REACH = {
    "hour": (timedelta(minutes=45), timedelta(minutes=15)),
    "6 hours": (timedelta(hours=5), timedelta(hours=1)),
    "day": (timedelta(hours=20), timedelta(hours=4)),
}
LANES = 12
TICKS = 6


@dataclass(frozen=True)
class Mark:
    """A run or a coming slot, and where it lies: percent of the line's length."""

    left: float
    width: float
    kind: str
    #: What it is, for whoever points at it or listens.
    says: str
    run: str | None = None


@dataclass(frozen=True)
class Lane:
    """What happens to one source."""

    source: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Tick:
    """An instant written below the line."""

    left: float
    at: datetime


@dataclass(frozen=True)
class Timeline:
    """Everything on the line."""

    start_ms: int
    end_ms: int
    now: float
    lanes: Sequence[Lane]
    ticks: Sequence[Tick]
    #: Sources that had no room.
    hidden: int


def lay_out(
    runs: Sequence[RunRow], upcoming: Sequence[Upcoming], *, now: datetime, reach: tuple[timedelta, timedelta]
) -> Timeline:
    """Place the runs, latest change first in each lane's favour, and what comes."""
    start, end = now - reach[0], now + reach[1]

    def place(instant: datetime) -> float:
        return round(min(max((instant - start) / (end - start), 0), 1) * 100, 2)

    by_source: dict[str, list[Mark]] = defaultdict(list)
    for row in sorted(runs, key=last_change, reverse=True):
        began, ended = row.started or row.ready, row.ended or now
        if ended < start or began > end:
            continue
        left, right = place(began), place(max(ended, began))
        says = f"{row.id}, {row.state}" + (f": {row.reason}" if row.reason else "")
        by_source[row.source].append(Mark(left, round(right - left, 2), row.state, says, row.id))
    for coming in upcoming:
        if coming.at <= end:
            by_source[coming.source].append(Mark(place(coming.at), 0, "coming", f"{coming.source}, coming"))
    lanes = [Lane(source, marks) for source, marks in by_source.items()]
    shown = sorted(lanes[:LANES], key=lambda lane: lane.source)
    ticks = [Tick(round(100 * n / TICKS, 2), start + (end - start) * n / TICKS) for n in range(1, TICKS)]
    return Timeline(to_ms(start), to_ms(end), place(now), shown, ticks, max(len(lanes) - LANES, 0))
