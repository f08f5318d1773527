"""Whatever is asked of the ledger in whatever order, it answers as its model does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
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

from nightshift.base.errors import LostLease, NotPossible, UnknownRun
from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import (
    ENDED,
    Overlap,
    Rules,
    State,
    crashed,
    done,
    failed,
    handed_back,
    postponed,
    skipped,
)
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock, Model, Twice, request

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULES = Rules(retries=2)
REQUESTS = [
    request("news", NOON, lane="news", overlap=Overlap.SKIP),
    request("news", NOON + timedelta(minutes=1), lane="news", overlap=Overlap.SKIP),
    request("mail", NOON, lane="agent", queue="agents"),
    request("chat", NOON, lane="agent", queue="agents"),
    request("wake", NOON, lane="agent", queue="agents"),
    request("poll", NOON, ready=NOON + timedelta(seconds=10)),
]
OUTCOMES = [
    done(found=1),
    skipped("nothing new"),
    failed("refused"),
    handed_back("worker stopped"),
    postponed("asked to wait", timedelta(seconds=20)),
    crashed("broke", timedelta(seconds=5)),
]
PAUSES = [timedelta(milliseconds=1), timedelta(seconds=1), timedelta(seconds=9), timedelta(seconds=30)]
PAUSES += [timedelta(minutes=1), timedelta(minutes=15)]

anything = st.sampled_from(REQUESTS)
again = st.booleans()


class LedgerMachine(RuleBasedStateMachine):
    """Several workers, two pulses and a person at one ledger; every call may be made twice."""

    claims: Bundle[tuple[str, int]] = Bundle("claims")

    def __init__(self, runner: asyncio.Runner, redis: Any) -> None:
        super().__init__()
        self.runner = runner
        self.redis = redis
        self.keys = Keys(prefix="stateful")
        self.clock = Clock(NOON)
        self.once = Ledger(redis, self.keys, RULES, clock=self.clock)
        self.twice = Twice(redis, self.keys, RULES, clock=self.clock)
        self.model = Model(RULES)
        self.tokens: Counter[str] = Counter()
        self.wait(redis.flushdb())

    def wait[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def ledger(self, again: bool) -> Ledger:
        return self.twice if again else self.once

    @property
    def now(self) -> int:
        return to_ms(self.clock())

    @rule(pause=st.sampled_from(PAUSES))
    def time_passes(self, pause: timedelta) -> None:
        self.clock.now += pause

    @rule(run=anything, again=again)
    def record(self, run: Any, again: bool) -> None:
        assert self.wait(self.ledger(again).record(run)) == self.model.record(run, self.now)

    @rule(target=claims, run=anything, again=again)
    def claim(self, run: Any, again: bool) -> Any:
        return self._claim(run, again)

    def _claim(self, run: Any, again: bool) -> Any:
        expected = self.model.claim(run.id, self.now)
        claimed = self.wait(self.ledger(again).claim(run.id, worker="w", message="m"))
        if isinstance(claimed, str):
            assert claimed == expected
            return multiple()
        assert claimed.token == expected
        return run.id, claimed.token

    @rule(target=claims, claim=claims, seen_by_pulse=again)
    def freeze_and_be_overtaken(self, claim: tuple[str, int], seen_by_pulse: bool) -> Any:
        """What random steps seldom come to: the claim lapses and, first or later, somebody else claims."""
        self.clock.now += RULES.lease
        if seen_by_pulse:
            self.clock.now += RULES.shift_lease
            self.look("left", held=False)
            return multiple()
        (run,) = (each for each in REQUESTS if each.id == claim[0])
        return self._claim(run, again=False)

    @rule(claim=claims, cost=st.integers(0, 9), again=again)
    def renew(self, claim: tuple[str, int], cost: int, again: bool) -> None:
        expected = self.model.renew(*claim, cost, self.now)
        try:
            answer: str | None = self.wait(
                self.ledger(again).renew(*claim, cost=cost, checkpoint={"at": cost})
            )
        except LostLease:
            answer = "lost"
        assert answer == expected

    @rule(claim=claims, outcome=st.sampled_from(OUTCOMES), cost=st.integers(0, 9), again=again)
    def settle(self, claim: tuple[str, int], outcome: Any, cost: int, again: bool) -> None:
        expected = self.model.settle(*claim, outcome, cost, self.now)
        try:
            answer: str = self.wait(self.ledger(again).settle(*claim, outcome, cost=cost))
        except LostLease:
            answer = "lost"
        assert answer == expected

    @rule(run=anything, again=again)
    def cancel(self, run: Any, again: bool) -> None:
        expected = self.model.cancel(run.id, self.now)
        try:
            answer: str = self.wait(self.ledger(again).cancel(run.id, reason="by hand"))
        except UnknownRun:
            answer = "missing"
        except NotPossible:
            answer = "ended"
        assert answer == expected

    @rule(run=anything, again=again)
    def replay(self, run: Any, again: bool) -> None:
        expected = self.model.replay(run.id, self.now)
        try:
            self.wait(self.ledger(again).replay(run.id, by="ann"))
            answer = "open"
        except UnknownRun:
            answer = "missing"
        assert answer == expected

    @rule(pulse=st.sampled_from(["left", "right"]), held=st.booleans())
    def look(self, pulse: str, held: bool) -> None:
        holding = {"agents": timedelta(seconds=30)} if held else {}
        expected = self.model.look(pulse, holding, self.now)
        look = self.wait(self.once.look(pulse, held=holding))
        found = {(hint.run_id, hint.times) for hint in look.hints} if look.on_shift else None
        assert found == expected

    @rule(pulse=st.sampled_from(["left", "right"]))
    def leave_shift(self, pulse: str) -> None:
        self.model.leave_shift(pulse)
        self.wait(self.once.leave_shift(pulse))

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        self.wait(self._compare())

    async def _compare(self) -> None:
        at = await self.redis.zrange(self.keys.open, 0, -1, withscores=True)
        assert dict(at) == {name: run.look_at for name, run in self.model.runs.items() if not run.state.ended}

        ended: list[str] = []
        for state in ENDED:
            members = await self.redis.zrange(self.keys.ended(state), 0, -1)
            assert set(members) == {name for name, run in self.model.runs.items() if run.state is state}
            ended += members
        assert len(ended) == len(set(ended))

        for row in await self.once.rows([run.id for run in REQUESTS]):
            run = self.model.runs[row.id]
            assert (row.state, row.token, row.cost) == (run.state, run.token, sum(run.costs.values()))
            assert (row.attempts, row.retries) == (run.attempts, run.retries)
            assert row.attempts <= RULES.attempts
            assert row.token >= self.tokens[row.id]
            self.tokens[row.id] = row.token

        for lane in {run.lane for run in REQUESTS if run.lane}:
            holder = await self.redis.hget(self.keys.lane(lane), "holder")
            assert holder == self.model.lanes.get(lane)
            assert holder is None or self.model.runs[holder].state in (State.WAITING, State.RUNNING)

        tally = await self.once.tally(self.clock.now.date())
        assert tally == +self.model.tally

        events = [facts for _, facts in await self.redis.xrange(self.keys.events)]
        settled = [facts for facts in events if facts["type"] == "run_settled"]
        for source, state in {(facts["source"], facts["status"]) for facts in settled}:
            of_them = [facts for facts in settled if (facts["source"], facts["status"]) == (source, state)]
            assert tally[source, state] == len(of_them)
        commits = Counter(facts["run"] for facts in settled if facts["status"] == "done")
        assert all(commits[name] <= 1 + run.replays for name, run in self.model.runs.items())


def test_the_ledger_answers_as_its_model(redis_socket: Path) -> None:
    with asyncio.Runner() as runner:
        redis: Any = Redis(unix_socket_path=str(redis_socket), db=1, decode_responses=True)
        try:
            run_state_machine_as_test(
                lambda: LedgerMachine(runner, redis),  # type: ignore[arg-type]  # any maker of one will do
                settings=settings(
                    max_examples=60,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    # Each step asks a real server; the whole is bounded by the numbers above.
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(redis.flushdb())
            runner.run(redis.aclose())
