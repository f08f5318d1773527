"""What was spent, by whom: a book a day, kept for thirteen months."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import batched

from redis.asyncio import Redis

from nightshift.money.payer import Level, Listed
from nightshift.runs.ledger import DAYS_BEFORE_1970
from nightshift.store.keys import Keys

#: How many days the books are kept; the script says the same.
KEPT_DAYS = 400
BATCH = 30


@dataclass(frozen=True)
class Spent:
    """What some calls took, together."""

    #: In micro-USD.
    cost: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.cost + other.cost,
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
        )

    def __sub__(self, other: Spent) -> Spent:
        return Spent(
            self.cost - other.cost,
            self.calls - other.calls,
            self.tokens_in - other.tokens_in,
            self.tokens_out - other.tokens_out,
        )


NOTHING = Spent()
type Book = Mapping[tuple[Level, str], Spent]


@dataclass(frozen=True)
class CostRow:
    """What was spent by one name; the empty one stands for what belongs to none."""

    name: str
    cost: int
    calls: int
    tokens_in: int
    tokens_out: int


async def read_books(redis: Redis, keys: Keys, days: Iterable[date]) -> list[Book]:
    """What everybody spent on each of these days."""
    books: list[Book] = []
    for some in batched(days, BATCH):
        asked = redis.pipeline(transaction=False)
        for day in some:
            asked.hgetall(keys.book(day.toordinal() - DAYS_BEFORE_1970))
        books += [_book(stored) for stored in await asked.execute()]
    return books


async def read_costs(redis: Redis, keys: Keys, by: Listed, *, until: date, days: int) -> Sequence[CostRow]:
    """
    What was spent in these days, up to and including ``until``, by the names of this level.

    The dearest first, and days from the last; what was spent by none of the level's names comes at the end.
    """
    dates = [until - timedelta(days=back) for back in range(days)]
    books = await read_books(redis, keys, dates)
    totals = [book.get((Level.DAY, ""), NOTHING) for book in books]
    if by is Listed.DAY:
        found = zip(map(str, dates), totals, strict=True)
        return [_row(day, spent) for day, spent in found if spent.calls]
    wanted = Level(by)
    names: dict[str, Spent] = {}
    for book in books:
        for (level, name), spent in book.items():
            if level is wanted:
                names[name] = names.get(name, NOTHING) + spent
    rows = [_row(name, spent) for name, spent in names.items()]
    rest = sum(totals, NOTHING) - sum(names.values(), NOTHING)
    return sorted(rows, key=lambda row: (-row.cost, row.name)) + ([_row("", rest)] if rest.calls else [])


async def read_days(redis: Redis, keys: Keys, *, until: date, days: int) -> Mapping[date, Spent]:
    """What everybody together spent on each of these days, up to and including ``until``, in order."""
    dates = [until - timedelta(days=back) for back in reversed(range(days))]
    asked = redis.pipeline(transaction=False)
    for day in dates:
        asked.hget(keys.book(day.toordinal() - DAYS_BEFORE_1970), f"{Level.DAY} ")
    totals = [_spent(entry) if entry else NOTHING for entry in await asked.execute()]
    return dict(zip(dates, totals, strict=True))


def _row(name: str, spent: Spent) -> CostRow:
    return CostRow(name, spent.cost, spent.calls, spent.tokens_in, spent.tokens_out)


def _book(stored: Mapping[str, str]) -> Book:
    book = {}
    for field, entry in stored.items():
        level, _, name = field.partition(" ")
        book[Level(level), name] = _spent(entry)
    return book


def _spent(entry: str) -> Spent:
    return Spent(*map(int, entry.split(" ")))
