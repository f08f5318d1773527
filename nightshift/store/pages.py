"""
Lists that are read from an index, a page at a time.

One page looks at no more than so many entries, however few are wanted: it may be short of its limit, even
empty, and still have a next. What changes its place while it is read is listed once.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Protocol, Self

from redis.asyncio import Redis

from nightshift.base.errors import BadQuery
from nightshift.store.client import FIRST_READ, LARGEST_READ, take, walk_index

#: One page looks at no more entries than this.
LOOK_THROUGH = 10_000


@dataclass(frozen=True, order=True)
class Place:
    """Where a list stands: the last entry of its index that it has looked at."""

    score: float
    id: str

    def __str__(self) -> str:
        return f"{self.score:.0f}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a page gave as its next."""
        score, _, id = text.partition(":")
        if not re.fullmatch(r"[0-9]{1,16}", score) or not id:
            raise no_place(text)
        return cls(float(score), id)


def no_place(text: str) -> BadQuery:
    return BadQuery(f"{text!r} is no place in this list; take the `next` of the page before")


class IndexEntry(Protocol):
    """A place that names what stands there."""

    @property
    def id(self) -> str: ...


@dataclass(frozen=True)
class Page[Row, At: IndexEntry]:
    """Some of what a list holds, and where the next page begins; nothing there if there is none."""

    rows: Sequence[Row]
    next: At | None


async def read_page[Row, At: IndexEntry](
    entries: AsyncGenerator[At],
    read: Callable[[Sequence[str]], Awaitable[Mapping[str, Row]]],
    wanted: Callable[[Row], bool],
    *,
    limit: int,
    after: At | None,
) -> Page[Row, At]:
    """Read the rows behind these entries, which begin past ``after``, until so many are wanted ones."""
    found: dict[str, Row] = {}
    looked, size = 0, FIRST_READ
    async with aclosing(entries):
        while batch := await take(entries, min(size, LOOK_THROUGH - looked)):
            rows = await read([entry.id for entry in batch])
            for entry in batch:
                row = rows.get(entry.id)
                if row is not None and wanted(row) and entry.id not in found:
                    if len(found) == limit:
                        return Page(list(found.values()), after)
                    found[entry.id] = row
                after = entry
            looked, size = looked + len(batch), min(size * 2, LARGEST_READ)
        more = await anext(entries, None)
    return Page(list(found.values()), after if more else None)


async def walk(
    redis: Redis, indexes: Sequence[str], after: Place | None, *, descending: bool = False
) -> AsyncGenerator[Place]:
    """The entries of these indexes past this place, in order as if they were one."""
    last = (after.score, after.id) if after else None
    first_of = max if descending else min
    async with AsyncExitStack() as stack:
        walks = [
            await stack.enter_async_context(aclosing(walk_index(redis, key, last, descending=descending)))
            for key in indexes
        ]
        heads = [await anext(each, None) for each in walks]
        while first := first_of((head for head in heads if head), default=None):
            yield Place(*first)
            which = heads.index(first)
            heads[which] = await anext(walks[which], None)
