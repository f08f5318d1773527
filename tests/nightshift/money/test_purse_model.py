"""Whatever is reserved, settled or left to lapse, each said twice: the sums are those of a model."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from nightshift.base.errors import OutOfBudget, OverRunCap
from nightshift.money.caps import Caps
from nightshift.money.costs import NOTHING, read_books
from nightshift.money.payer import Level, Occasion, Payer
from nightshift.money.purse import LEASE, Hold, Purse
from nightshift.money.settings import BudgetSettings
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts
from tests.nightshift.runs.model import Clock

NIGHT = datetime(2026, 11, 20, 23, 50, tzinfo=UTC)
PAYERS = [
    Payer("a@1", "job:a", "t1", "ann", "c:1", Occasion.HEARTBEAT),
    Payer("a@2", "job:a", "t1", "ben", "c:1", Occasion.SCHEDULE),
    Payer("b@1", "prompt:b", "t2", "ann", "c:2", Occasion.PERSON),
]
CAPS = {"day": 200, "tenant": 150, "channel": 100, "agent": 120, "run": 90, "job": 110}
SUMS = [0, 1, 10, 40, 85, 90, 100]


class Twice(Scripts):
    """Says everything twice, as a client does that lost the first answer."""

    async def run(self, name: str, **request: Any) -> Any:
        first = await super().run(name, **request)
        second = await super().run(name, **request)
        assert first == second or (name, second) == ("settle_call", ["already"])
        return first


class PurseMachine(RuleBasedStateMachine):
    """Calls of several payers under small caps, near midnight."""

    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self, runner: asyncio.Runner, redis: Any) -> None:
        super().__init__()
        self.runner, self.redis, self.keys = runner, redis, Keys(prefix="purse")
        self.clock = Clock(NIGHT)
        caps = {level: f"0.{cap:06}" for level, cap in CAPS.items()}
        self.purse = Purse(redis, self.keys, Caps(redis, self.keys, BudgetSettings(**caps)), clock=self.clock)
        self.purse._scripts = Twice(
            "nightshift.money", ("reserve_call", "settle_call"), redis, self.keys, clock=self.clock
        )
        self.spent: Counter[tuple[Any, ...]] = Counter()
        self.reserved: Counter[tuple[Any, ...]] = Counter()
        self.open: dict[str, tuple[datetime, list[tuple[Any, ...]]]] = {}
        self.ceilings: dict[str, int] = {}
        self.places_of: dict[str, list[tuple[Any, ...]]] = {}
        self.counted: set[str] = set()
        self.wait(redis.flushdb())

    def wait[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def places(self, payer: Payer) -> list[tuple[Any, ...]]:
        today = self.clock.now.date()
        return [
            (None if level is Level.RUN else today, level, name) for level, name in payer.levels("m").items()
        ]

    def free(self, hold: Hold) -> None:
        for place in self.open.pop(hold.id, (None, []))[1]:
            self.reserved[place] -= hold.ceiling

    @rule(pause=st.sampled_from([timedelta(seconds=1), timedelta(minutes=4), LEASE]))
    def time_passes(self, pause: timedelta) -> None:
        self.clock.now += pause

    @rule(target=holds, payer=st.sampled_from(PAYERS), ceiling=st.sampled_from(SUMS))
    def reserve(self, payer: Payer, ceiling: int) -> Any:
        for id, (until, places) in list(self.open.items()):
            if until <= self.clock.now:
                for place in places:
                    self.reserved[place] -= self.ceilings[id]
                del self.open[id]
        blocked = None
        for place in self.places(payer):
            level = place[1]
            if blocked is None and level in CAPS:
                limit = CAPS[level] * (payer.kind.share if level.shared else 100) // 100
                if self.spent[place] + self.reserved[place] + ceiling > limit:
                    blocked = level
        if blocked is not None:
            named = "everybody" if blocked is Level.DAY else f"{blocked} "
            with pytest.raises((OutOfBudget, OverRunCap), match=f": {named}"):
                self.wait(self.purse.reserve(payer, model="m", ceiling=ceiling))
            return multiple()
        hold = self.wait(self.purse.reserve(payer, model="m", ceiling=ceiling))
        places = self.places(payer)
        self.open[hold.id] = self.clock.now + LEASE, places
        self.ceilings[hold.id], self.places_of[hold.id] = ceiling, places
        for place in places:
            self.reserved[place] += ceiling
        return hold

    @rule(hold=holds, part=st.sampled_from([0, 50, 100]))
    def settle(self, hold: Hold, part: int) -> None:
        cost = hold.ceiling * part // 100
        self.wait(self.purse.settle(hold, cost=cost, tokens_in=1, tokens_out=1))
        self.free(hold)
        if hold.id not in self.counted:
            self.counted.add(hold.id)
            for place in self.places_of[hold.id]:
                self.spent[place] += cost

    @rule(hold=holds)
    def release(self, hold: Hold) -> None:
        self.wait(self.purse.release(hold))
        self.free(hold)
        self.counted.add(hold.id)

    @invariant()
    def the_sums_are_those_of_the_model(self) -> None:
        days = [NIGHT.date() + timedelta(days=day) for day in range(3)]
        books = dict(zip(days, self.wait(read_books(self.redis, self.keys, days)), strict=True))
        for day, level, name in self.spent:
            if day in books:
                found = books[day].get((level, name), NOTHING).cost
                assert found == self.spent[day, level, name], (day, level, name)
        stored = self.wait(self.redis.hgetall(self.keys.reserved))
        assert sorted(filter(None, map(int, stored.values()))) == sorted((+self.reserved).values())


def test_the_purse_counts_as_its_model_does(redis_socket: Path) -> None:
    steps = settings(
        max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    with asyncio.Runner() as runner:
        redis: Any = Redis(unix_socket_path=str(redis_socket), db=8, decode_responses=True)
        machine: Any = partial(PurseMachine, runner, redis)
        try:
            run_state_machine_as_test(machine, settings=steps)
        finally:
            runner.run(redis.flushdb())
            runner.run(redis.aclose())
