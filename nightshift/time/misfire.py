"""
What to do about slots that passed while nobody was there to run them.

Each slot is answered for once: it runs, or it is counted as missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice

from nightshift.time.cadence import Cadence
from nightshift.time.zones import TICK, in_utc

SHORTEST_GRACE = timedelta(minutes=2)
LONGEST_GRACE = timedelta(hours=2)
#: A slot picked up this late is not late at all: even ``SKIP`` runs it.
ON_TIME = timedelta(seconds=60)


class Misfire(StrEnum):
    """Which of the slots that passed still run. ``RUN_LATEST`` unless somebody chose."""

    #: The latest, if it passed no longer ago than the grace.
    RUN_LATEST = "run_latest"
    #: The latest, if it has only just passed.
    SKIP = "skip"
    #: All of them up to a number, the latest ones, however long ago they passed.
    RUN_ALL = "run_all"


@dataclass(frozen=True)
class CatchUp:
    """The answer for every slot that has passed, and the slot to announce next."""

    run: tuple[datetime, ...]
    missed: int
    missed_from: datetime | None
    missed_until: datetime | None
    next: datetime


def grace(cadence: Cadence) -> timedelta:
    """Give how late a slot may still run: half a period, at least two minutes and at most two hours."""
    return min(max(cadence.typical_period() / 2, SHORTEST_GRACE), LONGEST_GRACE)


def catch_up(
    cadence: Cadence, expected: datetime, now: datetime, policy: Misfire, grace: timedelta, at_most: int = 10
) -> CatchUp:
    """
    Decide about ``expected``, the slot announced, and every slot since then.

    The slot announced counts even where the cadence has been changed and no longer has it. The work
    grows with ``at_most``, not with the time away.
    """
    expected, now = in_utc(expected), in_utc(now)
    if now < expected:
        return CatchUp(run=(), missed=0, missed_from=None, missed_until=None, next=expected)
    keep = at_most if policy is Misfire.RUN_ALL else 1
    allowed = {
        Misfire.RUN_LATEST: grace,
        Misfire.SKIP: min(grace, ON_TIME),
        Misfire.RUN_ALL: timedelta.max,
    }[policy]
    newest = list(islice(_newest_first(cadence, expected, now), keep + 1))
    run = [slot for slot in newest[:keep] if now - slot <= allowed]
    missed = 1 + cadence.count(expected, now) - len(run)
    return CatchUp(
        run=tuple(reversed(run)),
        missed=missed,
        missed_from=expected if missed else None,
        missed_until=newest[len(run)] if missed else None,
        next=cadence.slot_after(now),
    )


def _newest_first(cadence: Cadence, expected: datetime, now: datetime) -> Iterator[datetime]:
    slot = cadence.latest_slot(now)
    while slot is not None and slot > expected:
        yield slot
        slot = cadence.latest_slot(slot - TICK)
    yield expected
