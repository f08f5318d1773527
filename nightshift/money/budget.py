"""How the budget stands: spent, reserved, forecast and capped, and by whom."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nightshift.base.instants import to_ms
from nightshift.money.caps import Caps, cap_of
from nightshift.money.costs import NOTHING, read_books
from nightshift.money.forecast import Forecast, read_forecast
from nightshift.money.payer import Level
from nightshift.runs.ledger import DAYS_BEFORE_1970, Ledger
from nightshift.store.client import store_now, text_list

#: How many names of a level are told of, those that spent most.
TOP = 5


@dataclass(frozen=True)
class Account:
    """What one name of a level has spent and may spend today, in micro-USD."""

    level: Level
    name: str
    spent: int
    reserved: int
    cap: int | None


@dataclass(frozen=True)
class Budget:
    """How everything stands today, and who spent most at each level."""

    at: datetime
    day: Account
    forecast: Forecast
    by: Sequence[Account]


async def read_budget(ledger: Ledger, caps: Caps, *, top: int = TOP) -> Budget:
    """Look at the books of today."""
    now = await store_now(ledger.redis)
    today = now.date()
    book, yesterday = await read_books(ledger.redis, ledger.keys, [today, today - timedelta(days=1)])
    reserved = await _read_reserved(ledger, now)
    known = await caps.read()

    def account(level: Level, name: str) -> Account:
        spent = book.get((level, name), NOTHING).cost
        return Account(level, name, spent, reserved[level, name], cap_of(known, level, name))

    everyone = {at for at in (*book, *reserved) if at[0] not in (Level.DAY, Level.RUN)}
    ranked = sorted(
        (account(*at) for at in everyone), key=lambda each: (-each.spent - each.reserved, each.name)
    )
    return Budget(
        at=now,
        day=account(Level.DAY, ""),
        forecast=await read_forecast(ledger, now, book, yesterday),
        by=[each for level in Level for each in [one for one in ranked if one.level is level][:top]],
    )


async def _read_reserved(ledger: Ledger, now: datetime) -> Counter[tuple[Level, str]]:
    """What calls that are under way may still cost today; what lapsed counts no more."""
    redis, keys = ledger.redis, ledger.keys
    asked = redis.pipeline(transaction=False)
    for hold in await text_list(redis.zrange(keys.holds, f"({to_ms(now)}", "+inf", byscore=True)):
        asked.hmget(keys.hold(hold), "amount", "fields")
    found: Counter[tuple[Level, str]] = Counter()
    today = str(now.date().toordinal() - DAYS_BEFORE_1970)
    for amount, fields in await asked.execute():
        for field in json.loads(fields or "[]"):
            day, _, label = field.partition(" ")
            level, _, name = label.partition(" ")
            if day == today:
                found[Level(level), name] += int(amount)
    return found
