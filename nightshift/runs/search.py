"""Finding runs among those that are kept, a page at a time, by index."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from nightshift.errors import BadQuery
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunId, RunRow
from nightshift.runs.states import ENDED, OPEN, State
from nightshift.store import FIRST_READ, LARGEST_READ, take, walk_index

#: One page looks at no more runs than this, however few are wanted.
LOOK_THROUGH = 10_000


@dataclass(frozen=True)
class Wanted:
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
            and not self.is_before(row)
        )

    def is_before(self, row: RunRow) -> bool:
        return self.since is not None and last_change(row) < self.since


@dataclass(frozen=True, order=True)
class Place:
    """Where a listing stands: the last entry that it has looked at."""

    ended: bool
    score: float
    run: str

    def __str__(self) -> str:
        return f"{'ended' if self.ended else 'open'}:{self.score:.0f}:{self.run}"

    @classmethod
    def parse(cls, text: str) -> Self:
        kind, _, rest = text.partition(":")
        score, _, run = rest.partition(":")
        if kind not in ("open", "ended") or not re.fullmatch(r"[0-9]{1,16}", score) or not run:
            raise BadQuery(f"{text!r} is no place in a list of runs; take the `next` of the page before")
        return cls(kind == "ended", float(score), run)


@dataclass(frozen=True)
class Page:
    """Some runs, and where the next page begins; nothing there if there is none."""

    runs: Sequence[RunRow]
    next: Place | None


def last_change(row: RunRow) -> datetime:
    """When it ended, or else began, or else was recorded."""
    return row.ended or row.started or row.created


async def read_page(ledger: Ledger, wanted: Wanted, *, limit: int, after: Place | None = None) -> Page:
    """
    List open runs, those to be looked at soonest first, and then ended ones, newest first.

    A page may be short of its limit, even empty, and still have a next: LOOK_THROUGH runs were looked at.
    A run that ends while it is being read stands in both indexes, and is listed once.
    """
    found: dict[RunId, RunRow] = {}
    looked, size = 0, FIRST_READ
    async with aclosing(_places(ledger, wanted, after)) as places:
        while looked < LOOK_THROUGH:
            size = min(size, LOOK_THROUGH - looked)
            batch = await take(places, size)
            rows = {row.id: row for row in await ledger.rows([place.run for place in batch])}
            for place in batch:
                row = rows.get(RunId(place.run))
                if row and place.ended and wanted.is_before(row):
                    return Page(list(found.values()), None)
                if row and wanted.has(row) and row.id not in found:
                    if len(found) == limit:
                        return Page(list(found.values()), after)
                    found[row.id] = row
                after = place
            if len(batch) < size:
                return Page(list(found.values()), None)
            looked, size = looked + size, min(size * 2, LARGEST_READ)
        more = await anext(places, None)
    return Page(list(found.values()), after if more else None)


async def _places(ledger: Ledger, wanted: Wanted, after: Place | None) -> AsyncGenerator[Place]:
    if set(OPEN) & set(wanted.states) and not (after and after.ended):
        async with aclosing(_index(ledger, ledger.keys.open, after, ended=False)) as soonest:
            async for place in soonest:
                yield place
    after = after if after and after.ended else None
    states = [state for state in ENDED if state in wanted.states]
    indexes = [_index(ledger, ledger.keys.ended(state), after, ended=True) for state in states]
    heads = [await anext(index, None) for index in indexes]
    while newest := max((head for head in heads if head), default=None):
        yield newest
        which = heads.index(newest)
        heads[which] = await anext(indexes[which], None)


async def _index(ledger: Ledger, key: str, after: Place | None, *, ended: bool) -> AsyncGenerator[Place]:
    """The entries of one index past this place: ended runs from the newest on, open ones from the soonest."""
    last = (after.score, after.run) if after else None
    async with aclosing(walk_index(ledger.redis, key, last, descending=ended)) as entries:
        async for score, run in entries:
            yield Place(ended, score, run)
