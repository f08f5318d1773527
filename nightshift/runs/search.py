"""Finding runs among those that are kept, a page at a time, by index."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import ENDED, OPEN, State
from nightshift.store.pages import Page, Place, no_place, read_page, walk


@dataclass(frozen=True)
class WantedRuns:
    """Which runs; what is left unset does not matter."""

    states: Collection[State] = tuple(State)
    sources: Collection[str] | None = None
    #: Recorded or ended no earlier than this.
    since: datetime | None = None
    tenant: str | None = None

    def has(self, row: RunRow) -> bool:
        return (
            row.state in self.states
            and (self.sources is None or row.source in self.sources)
            and (self.tenant is None or row.tenant == self.tenant)
            and (self.since is None or last_change(row) >= self.since)
        )


@dataclass(frozen=True)
class RunPlace:
    """Where a list of runs stands: among the open ones, or then among the ended ones."""

    ended: bool
    at: Place

    @property
    def id(self) -> str:
        return self.at.id

    def __str__(self) -> str:
        return f"{'ended' if self.ended else 'open'}:{self.at}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a page gave as its next."""
        kind, _, at = text.partition(":")
        if kind not in ("open", "ended"):
            raise no_place(text)
        return cls(kind == "ended", Place.parse(at))


def last_change(row: RunRow) -> datetime:
    """When it ended, or else began, or else was recorded."""
    return row.ended or row.started or row.created


async def read_runs(
    ledger: Ledger, wanted: WantedRuns, *, limit: int, after: RunPlace | None = None
) -> Page[RunRow, RunPlace]:
    """
    List open runs, those to be looked at soonest first, and then ended ones, newest first.

    A run that ends while it is being read stands in both indexes, and is listed once.
    """

    async def read(ids: Sequence[str]) -> dict[str, RunRow]:
        return {row.id: row for row in await ledger.rows(ids)}

    return await read_page(_places(ledger, wanted, after), read, wanted.has, limit=limit, after=after)


async def _places(ledger: Ledger, wanted: WantedRuns, after: RunPlace | None) -> AsyncGenerator[RunPlace]:
    if set(OPEN) & set(wanted.states) and not (after and after.ended):
        among_open = after.at if after else None
        async with aclosing(walk(ledger.redis, [ledger.keys.open], among_open)) as soonest:
            async for place in soonest:
                yield RunPlace(False, place)
    ended = [ledger.keys.ended(state) for state in ENDED if state in wanted.states]
    since = to_ms(wanted.since) if wanted.since else 0
    among_ended = after.at if after and after.ended else None
    async with aclosing(walk(ledger.redis, ended, among_ended, descending=True)) as newest:
        async for place in newest:
            if place.score < since:
                return
            yield RunPlace(True, place)
