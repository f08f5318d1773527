"""
The purse: money is reserved before a call and settled after it.

A reservation is made at every level or at none, in one script, so that no cap is exceeded however many ask at
once. It lapses by itself, so that a crash between the two costs nobody anything.
"""

from __future__ import annotations

import asyncio
import json
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from redis.asyncio import Redis

from nightshift.base.errors import OutOfBudget, OverRunCap, StoreUnreachable
from nightshift.base.words import money
from nightshift.controls.freeze import Freezing
from nightshift.money.caps import LARGEST, Caps
from nightshift.money.payer import Level, Payer
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

log = structlog.get_logger("nightshift.money")

#: Longer than any call's deadline.
LEASE = timedelta(minutes=5)
#: Reservations of others come back this soon, for the most part.
SOON = timedelta(seconds=30)
#: After midnight those who were out of budget come back one by one over this time.
SPREAD = timedelta(minutes=10)


@dataclass(frozen=True)
class Hold:
    """Money kept for one call."""

    id: str
    payer: Payer
    model: str
    ceiling: int
    use: str = ""


class Purse:
    """The only way to spend."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        caps: Caps,
        *,
        lease: timedelta = LEASE,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the server's time in tests."""
        self._redis = redis
        self._keys = keys
        self._caps = caps
        self._lease = lease
        #: What could not be settled, and what it took.
        self._owed: list[tuple[Hold, dict[str, int]]] = []
        self._scripts = Scripts("nightshift.money", ("reserve_call", "settle_call"), redis, keys, clock=clock)

    async def reserve(self, payer: Payer, *, model: str, ceiling: int, use: str = "") -> Hold:
        """
        Keep the most that a call can cost, or say whose cap has no room for it.

        Raises OutOfBudget, OverRunCap or Frozen; then nothing was kept.
        """
        if not 0 <= ceiling <= LARGEST:
            raise ValueError(f"a call costs 0 to {LARGEST} micro-USD, not {ceiling}")
        while self._owed:
            owed, spent = self._owed.pop()
            await self._settle(owed, **spent)
        hold = Hold(uuid.uuid4().hex, payer, model, ceiling, use)
        answer = await self._scripts.run(
            "reserve_call",
            id=hold.id,
            ceiling=ceiling,
            share=payer.kind.share,
            shared={level: True for level in Level if level.shared},
            lease_ms=round(self._lease.total_seconds() * 1000),
            levels=self._levels(hold),
        )
        if answer[0] == "frozen":
            raise Freezing.from_json(answer[1]).error()
        if answer[0] == "blocked":
            raise _no_room(payer, ceiling, answer[1:])
        return hold

    async def settle(self, hold: Hold, *, cost: int, tokens_in: int, tokens_out: int) -> None:
        """
        Count what the call did cost. Safe to repeat, also after the hold lapsed.

        If that fails because the store is away, the next reservation makes up for it.
        """
        await self._settle(hold, cost=cost, tokens_in=tokens_in, tokens_out=tokens_out)

    async def release(self, hold: Hold) -> None:
        """Give the money back: no call was made."""
        await self._settle(hold)

    async def estimate(self, use: str, source: str) -> int | None:
        """What a run of this source costs, by its last twenty; if there are none, a call for this use."""
        asked = self._redis.pipeline(transaction=False)
        asked.lrange(self._keys.costs_of_runs(source), 0, -1)
        asked.lrange(self._keys.costs_of_calls(use), 0, -1)
        runs, calls = await asked.execute()
        return mean_cost(runs) if runs else mean_cost(calls)

    async def _settle(self, hold: Hold, **spent: int) -> None:
        payer = hold.payer
        try:
            answer = await self._scripts.run(
                "settle_call",
                id=hold.id,
                run=payer.run,
                source=payer.source,
                use=hold.use,
                levels=self._levels(hold),
                **spent,
            )
        except (StoreUnreachable, asyncio.CancelledError):
            self._owed.append((hold, spent))
            log.warning("hold_not_settled", hold=hold.id, payer_run=payer.run, **spent)
            raise
        if answer[0] == "unknown":
            log.error("hold_unknown", hold=hold.id, payer_run=payer.run, payer_source=payer.source, **spent)

    def _levels(self, hold: Hold) -> list[dict[str, Any]]:
        return [
            {"level": level, "name": name, **self._caps.given(level, name)}
            for level, name in hold.payer.levels(hold.model).items()
        ]


def mean_cost(last: Sequence[str]) -> int | None:
    """The mean of the costs that begin these lines, rounded up; none if there are no lines."""
    costs = [int(line.partition(" ")[0]) for line in last]
    return -(-sum(costs) // len(costs)) if costs else None


def _no_room(payer: Payer, ceiling: int, answer: Sequence[str]) -> OutOfBudget | OverRunCap:
    level, name = Level(answer[0]), answer[1]
    cap, limit, spent, reserved, until_midnight_ms = map(int, answer[2:])
    whose = "everybody" if level is Level.DAY else f"{level} {name}"
    period = "in all" if level is Level.RUN else "today"
    kept = f" and {money(reserved)} is reserved" if reserved else ""
    shed = f", of which {payer.kind} work may fill {payer.kind.share} %" if limit < cap else ""
    remedy = " ".join(["nightshift budget set", level, *([json.dumps(name)] if name else []), "USD"])
    says = (
        f"no room for a call of up to {money(ceiling)}: {whose} has spent {money(spent)} {period}{kept}, "
        f"and the cap is {money(cap)}{shed}; `{remedy}` changes it"
    )
    fits_later = cap > 0 and spent + ceiling <= limit
    if fits_later:
        return OutOfBudget(says, retry_after=SOON, needs=ceiling)
    if level is Level.RUN:
        return OverRunCap(says)
    spread = timedelta(seconds=zlib.crc32(payer.run.encode()) % int(SPREAD.total_seconds()))
    wait = timedelta(milliseconds=until_midnight_ms) + spread
    return OutOfBudget(says, retry_after=wait, needs=ceiling)
