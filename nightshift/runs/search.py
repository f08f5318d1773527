"""Finding runs among those that are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import ENDED, OPEN, State

#: One search looks at no more rows of an index than this.
LOOK_THROUGH = 10_000
FIRST_PAGE, LARGEST_PAGE = 50, 500


@dataclass(frozen=True)
class Wanted:
    """Which runs; what is left unset does not matter."""

    states: Collection[State] = tuple(State)
    sources: Collection[str] | None = None
    #: Recorded or ended no earlier than this.
    since: datetime | None = None

    def has(self, row: RunRow) -> bool:
        return (
            row.state in self.states
            and (self.sources is None or row.source in self.sources)
            and not self.is_before(row)
        )

    def is_before(self, row: RunRow) -> bool:
        return self.since is not None and last_change(row) < self.since


@dataclass(frozen=True)
class Found:
    """Runs, newest first; ``stopped`` when there were more rows than are looked through."""

    runs: Sequence[RunRow]
    stopped: bool


def last_change(row: RunRow) -> datetime:
    """When it ended, or else began, or else was recorded."""
    return row.ended or row.started or row.created


async def find_runs(ledger: Ledger, wanted: Wanted, *, limit: int) -> Found:
    """Look for open and ended runs, newest first."""
    sizes = await ledger.counts()
    found: list[RunRow] = []
    stopped = False
    indexes = [None] if set(OPEN) & set(wanted.states) else []
    for ended in [*indexes, *(state for state in ENDED if state in wanted.states)]:
        matches, stop = await _look_through(ledger, wanted, ended, sizes[ended or "open"], limit)
        found += matches
        stopped |= stop
    found.sort(key=last_change, reverse=True)
    return Found(found[:limit], stopped)


async def _look_through(
    ledger: Ledger, wanted: Wanted, ended: State | None, size: int, limit: int
) -> tuple[list[RunRow], bool]:
    """Look through one index; only those of ended runs are in order, and can be left early."""
    found: list[RunRow] = []
    start, page = 0, FIRST_PAGE
    while start < min(size, LOOK_THROUGH):
        page = min(page, LOOK_THROUGH - start)
        if ended is None:
            rows = await ledger.open_runs(start=start, limit=page)
        else:
            rows = await ledger.ended_runs(ended, start=start, limit=page)
        found += filter(wanted.has, rows)
        if ended and (len(found) >= limit or any(map(wanted.is_before, rows))):
            return found, False
        start, page = start + page, min(page * 2, LARGEST_PAGE)
    return found, size > start
