"""
What the tests of the ledger stand on: a clock turned by hand, a client that says everything twice, and a
model of the ledger in plain Python, without races, repetition or keys.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import ENDED, OPEN, Outcome, Overlap, Rules, State
from nightshift.store.keys import Keys

#: How long a successor's wish for the pulse's shift stands.
WISH = 15_000


@dataclass
class Clock:
    """The store's time, standing still until it is moved."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def move(self, **duration: float) -> None:
        self.now += timedelta(**duration)


def request(source: str, nominal: datetime, **changes: Any) -> RunRequest:
    facts = {"task": "tasks.work", "queue": "io", **changes}
    return RunRequest(id=run_id(source, nominal), source=source, nominal=nominal, **facts)


def hint_pause(hints: int, rules: Rules) -> timedelta:
    """How long to wait before hinting again a run that was hinted ``hints`` times."""
    doublings = min(max(hints - 1, 0), 20)
    return min(rules.hint_again * (1 << doublings), rules.hint_ceiling)


class Twice(Ledger):
    """Says everything twice, as a client does that lost the first answer; the second must change nothing."""

    async def _run(self, name: str, request: Mapping[str, Any]) -> Any:
        first = await super()._run(name, request)
        before = await everything(self.redis, self.keys)
        second = await super()._run(name, request)
        assert await everything(self.redis, self.keys) == before
        # Recording and looking say honestly that the first call did it.
        assert first == second or name in {"record", "look"}
        return first


async def everything(redis: Redis, keys: Keys) -> dict[str, Any]:
    """All that stands under the root, but for what tells the story of it."""
    found: dict[str, Any] = {}
    async for key in redis.scan_iter(f"{keys.root}*", count=1000):
        match await redis.type(key):
            case "hash":
                found[key] = await redis.hgetall(key)
                found[key].pop("story", None)
            case "zset":
                found[key] = await redis.zrange(key, 0, -1, withscores=True)
            case "list":
                found[key] = await redis.lrange(key, 0, -1)
    return found


@dataclass
class ModelRun:
    """One run; instants in milliseconds."""

    request: RunRequest
    ready: int
    look_at: int
    state: State = State.WAITING
    attempts: int = 0
    retries: int = 0
    hints: int = 0
    token: int = 0
    settled_by: int = 0
    lease: int = 0
    asked_to_stop: bool = False
    ended_by_hand: bool = False
    replays: int = 0
    costs: dict[int, int] = field(default_factory=dict)
    counted: int = 0


class Model:
    """The rules of the ledger, said once more and more simply."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.runs: dict[str, ModelRun] = {}
        self.lanes: dict[str, str] = {}
        #: Of each lane, who found it taken, and when first.
        self.waiters: dict[str, dict[str, int]] = defaultdict(dict)
        self.tally: Counter[tuple[str, str]] = Counter()
        self.skipped: set[str] = set()
        self.leave_shift(None)

    def record(self, request: RunRequest, now: int) -> str:
        taken = request.lane in self.lanes
        if request.id in self.runs:
            return "exists"
        if taken and request.overlap is Overlap.SKIP:
            if request.id not in self.skipped:
                self.tally[request.source, "skipped:overlap"] += 1
            self.skipped.add(request.id)
            return "skipped"
        ready = to_ms(request.ready or request.nominal)
        self.runs[request.id] = ModelRun(request, ready, look_at=ready)
        self._take_lane(request)
        return "recorded"

    def claim(self, run_id: str, now: int) -> int | str:
        run = self.runs.get(run_id)
        if run is None:
            return "missing"
        if run.state.ended:
            return "ended"
        if run.state is State.RUNNING:
            if run.lease > now:
                return "busy"
            self._take_back(run, now)
            if run.state.ended:
                return "ended"
        if run.ready > now:
            return "early"
        holder = self.lanes.get(run.request.lane)
        if holder and holder != run_id and self.runs[holder].state is State.RUNNING:
            run.hints, run.look_at = 0, now + _ms(self.rules.lease)
            self.waiters[run.request.lane].setdefault(run_id, now)
            return "lane"
        if run.request.lane:
            self.lanes[run.request.lane] = run_id
            self.waiters[run.request.lane].pop(run_id, None)
        run.state, run.token = State.RUNNING, run.token + 1
        run.lease = run.look_at = now + _ms(self.rules.lease)
        self.tally[run.request.source, "claimed"] += 1
        return run.token

    def renew(self, run_id: str, token: int, cost: int, now: int) -> str | None:
        run = self.runs[run_id]
        if run.state is not State.RUNNING or run.token != token:
            return "lost"
        run.costs[token] = cost
        run.lease = run.look_at = now + _ms(self.rules.lease)
        return "by hand" if run.asked_to_stop else None

    def settle(self, run_id: str, token: int, outcome: Outcome, cost: int, now: int) -> str:
        run = self.runs[run_id]
        if run.token == token == run.settled_by:
            return run.state
        if run.state is not State.RUNNING or run.token != token:
            return "lost"
        run.settled_by, run.costs[token] = token, cost
        if outcome.state.ended:
            self._end(run, outcome.state, now)
        else:
            self._return(run, now + _ms(outcome.after), outcome.spends, now)
        return run.state

    def cancel(self, run_id: str, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None:
            return "missing"
        if run.state is State.RUNNING:
            run.asked_to_stop = True
            return "asked"
        if run.state is State.WAITING:
            self._end(run, State.SKIPPED, now, by_hand=True)
        return "settled" if run.ended_by_hand else "ended"

    def replay(self, run_id: str, now: int) -> str:
        run = self.runs.get(run_id)
        if run is None:
            return "missing"
        if run.state.ended:
            run.state, run.ready, run.look_at = State.WAITING, now, now
            run.attempts = run.retries = run.hints = 0
            run.replays += 1
            run.ended_by_hand = False
            self._take_lane(run.request)
        return "open"

    def look(self, holder: str, held: Mapping[str, timedelta], now: int) -> set[tuple[str, int]] | None:
        """What is handed out; nothing at all for who is not on shift."""
        if not self._take_shift(holder, now):
            return None
        hints = set()
        for name, run in self.runs.items():
            if run.state.ended or run.look_at > now:
                continue
            if run.state is State.RUNNING:
                self._take_back(run, now)
                if run.state.ended:
                    continue
            if run.request.queue in held:
                run.look_at = now + _ms(held[run.request.queue])
                continue
            run.hints += 1
            run.look_at = now + _ms(hint_pause(run.hints, self.rules))
            hints.add((name, run.hints))
        return hints

    def leave_shift(self, holder: str | None) -> None:
        if holder is None or self.shift_holder == holder:
            self.shift_holder: str | None = None
            self.successor: str | None = None
            self.shift_until = self.shift_since = self.successor_asked = 0

    def _take_shift(self, holder: str, now: int) -> bool:
        if self.shift_holder not in (None, holder) and self.shift_until > now:
            self.successor, self.successor_asked = holder, now
            return False
        wished = self.successor not in (None, holder) and self.successor_asked + WISH > now
        if self.shift_holder == holder and wished and self.shift_since + _ms(self.rules.shift) <= now:
            self.leave_shift(holder)
            return False
        if self.shift_holder != holder:
            self.leave_shift(None)
            self.shift_holder, self.shift_since = holder, now
        self.shift_until = now + _ms(self.rules.shift_lease)
        return True

    def _take_lane(self, request: RunRequest) -> None:
        if request.lane:
            self.lanes.setdefault(request.lane, request.id)

    def _take_back(self, run: ModelRun, now: int) -> None:
        self.tally[run.request.source, "lost"] += 1
        self._return(run, now, "attempts", now)

    def _return(self, run: ModelRun, at: int, spends: str, now: int) -> None:
        if run.asked_to_stop:
            self._end(run, State.SKIPPED, now, by_hand=True)
            return
        if spends == "attempts":
            run.attempts += 1
        if spends == "retries":
            run.retries += 1
        if run.attempts >= self.rules.attempts or run.retries >= self.rules.retries:
            self._end(run, State.FAILED, now)
            return
        run.state, run.hints = State.WAITING, 0
        run.ready = run.look_at = at

    def _end(self, run: ModelRun, state: State, now: int, *, by_hand: bool = False) -> None:
        assert run.state in OPEN
        assert state in ENDED
        run.state, run.asked_to_stop, run.ended_by_hand = state, False, by_hand
        waiters = self.waiters[run.request.lane]
        waiters.pop(run.request.id, None)
        if self.lanes.get(run.request.lane) == run.request.id:
            del self.lanes[run.request.lane]
            if waiters:
                first = min(waiters, key=lambda waiter: (waiters[waiter], waiter))
                del waiters[first]
                self.runs[first].look_at = now
        cost = sum(run.costs.values())
        self.tally[run.request.source, state] += 1
        self.tally[run.request.source, "cost"] += cost - run.counted
        run.counted = cost


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
