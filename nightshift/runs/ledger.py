"""
The ledger in Redis: five scripts that change it, and plain reads.

Every script is safe to repeat, so the client may retry any of them after a lost answer.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import batched
from typing import Any, Literal, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError, WatchError

from nightshift.base.errors import LostLease, NotPossible, UnknownRun
from nightshift.base.instants import from_ms, to_ms
from nightshift.runs.row import RunId, RunRequest, RunRow
from nightshift.runs.states import ENDED, Outcome, Rules, State
from nightshift.store.client import store_now, text_hash, text_list, translated
from nightshift.store.keys import Keys
from nightshift.store.scripts import encoded, load_script

Recorded = Literal["recorded", "exists", "skipped", "replayed", "advanced", "stale", "missing"]
DAYS_BEFORE_1970 = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Advance:
    """Move a member of an index on, in the same breath as recording what it was due for."""

    index: str
    member: str
    expected: float
    next: float | None
    row: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Missed:
    """Slots that passed and make no run."""

    source: str
    times: int
    first: datetime
    last: datetime
    reason: str = "missed"


@dataclass(frozen=True)
class VisitMove:
    """Give a channel its next visit, or none, provided that this one is still the one that counts."""

    channel: str
    generation: int
    next: datetime | None
    fields: Mapping[str, str | int] = field(default_factory=dict)
    #: Why this one made no run, in a word and with what decided.
    skipped: str = ""
    detail: str = ""
    nominal: datetime | None = None


@dataclass(frozen=True)
class Hint:
    """A run that waits for a worker."""

    run_id: RunId
    task: str
    queue: str
    times: int
    ready: datetime


@dataclass(frozen=True)
class DueSchedule:
    """A schedule whose next nominal time has come."""

    id: str
    score: float
    row: Mapping[str, str]


@dataclass(frozen=True)
class DueVisit:
    """A channel's visit, to be carried out at this instant unless its generation has passed."""

    channel: str
    generation: int
    at: datetime


@dataclass(frozen=True)
class Look:
    """What one look of the pulse found. ``on_shift`` is false when somebody else has the shift."""

    on_shift: bool
    #: While standing by: when the shift runs out unless it is kept. On shift: when to look again.
    until: datetime
    now: datetime
    hints: Sequence[Hint] = ()
    due: Sequence[DueSchedule] = ()
    visits: Sequence[DueVisit] = ()
    #: Channels whose visit was too late and that were given another time.
    missed: int = 0


@dataclass(frozen=True)
class Skip:
    """A slot that made no run."""

    at: datetime
    nominal: datetime
    reason: str
    times: int
    detail: str
    #: Of one that was skipped several times: the last.
    till: datetime | None = None


class Ledger:
    """The only way to change a run."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        rules: Rules | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the server's time in tests."""
        self.redis = redis
        self.keys = keys
        self.rules = rules or Rules()
        self._clock = clock
        self._scripts = {
            name: redis.register_script(load_script("nightshift.runs", name))
            for name in ("record", "look", "claim", "renew", "settle")
        }

    # Changing

    async def record(
        self,
        run: RunRequest | None = None,
        *,
        advance: Advance | None = None,
        missed: Missed | None = None,
    ) -> Recorded:
        """Create the run unless it is there, and advance what it came from."""
        return cast(Recorded, await self._run("record", _recording(run, advance, missed)))

    async def record_many(
        self, recordings: Iterable[tuple[RunRequest | None, Advance | None, Missed | None]]
    ) -> list[Recorded]:
        """Record each on its own, all in one round trip."""
        return await self._record_each(_recording(*each) for each in recordings)

    async def record_visits(self, visits: Iterable[tuple[RunRequest | None, VisitMove]]) -> list[Recorded]:
        """For each channel, record what its visit became and place its next, all in one round trip."""
        return await self._record_each(_recording(run, None, None, move) for run, move in visits)

    async def _record_each(self, requests: Iterable[Mapping[str, Any]]) -> list[Recorded]:
        script = self._scripts["record"]
        arguments = [self._arguments(each) for each in requests]
        if not arguments:
            return []
        for _ in range(2):
            pipeline = self.redis.pipeline(transaction=False)
            for argument in arguments:
                pipeline.evalsha(script.sha, 1, self.keys.root, argument)
            try:
                answers = await pipeline.execute(raise_on_error=False)
            except RedisError as error:
                raise translated(error) from error
            if not any(isinstance(answer, NoScriptError) for answer in answers):
                break
            await self.redis.script_load(script.script)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise translated(answer) from answer
        return cast(list[Recorded], answers)

    async def replay(self, run_id: str, *, by: str) -> None:
        """Let an ended run wait again, with its history and a fresh count of attempts."""
        request = {"run": {"id": run_id, "lane": ""}, "replay": True, "by": by}
        answer = await self._run("record", request)
        if answer == "missing":
            raise _unknown(run_id)

    async def look(
        self,
        holder: str,
        *,
        limit: int = 500,
        held: Mapping[str, timedelta] | None = None,
        visits: bool = False,
    ) -> Look:
        """Take or keep the pulse's shift, and take what is due; channels' visits only if wanted."""
        answer = await self._run(
            "look",
            {
                **({"visits": self._visit_limits} if visits else {}),
                "holder": holder,
                "lease_ms": _ms(self.rules.shift_lease),
                "shift_ms": _ms(self.rules.shift),
                "limit": limit,
                "held": {queue: _ms(pause) for queue, pause in (held or {}).items()},
                "hint_ms": _ms(self.rules.hint_again),
                "hint_ceiling_ms": _ms(self.rules.hint_ceiling),
                "unasked_ms": _ms(self.rules.unasked),
                "limits": self._limits,
                "share": self.rules.share,
            },
        )
        if answer[0] == "standby":
            return Look(False, until=from_ms(answer[1]), now=datetime.now(UTC))
        if answer[0] == "relieved":
            return Look(False, until=datetime.now(UTC), now=datetime.now(UTC))
        _, now, nearest, hints, due, handed_out, missed = answer
        return Look(
            True,
            until=from_ms(nearest),
            now=from_ms(now),
            hints=[
                Hint(RunId(hints[i]), hints[i + 1], hints[i + 2], int(hints[i + 3]), from_ms(hints[i + 4]))
                for i in range(0, len(hints), 5)
            ],
            due=[DueSchedule(name, float(score), _pairs(row)) for name, score, row in due],
            visits=[
                DueVisit(channel, int(generation), from_ms(at))
                for channel, generation, at in batched(handed_out, 3)
            ],
            missed=int(missed),
        )

    async def leave_shift(self, holder: str) -> None:
        """Give the pulse's shift back, so that whoever stands by need not wait for it to lapse."""
        await self._run("look", {"holder": holder, "leave": True})

    async def claim(self, run_id: str, *, worker: str, message: str) -> RunRow | str:
        """The run, if it is ours to carry out; otherwise a word for why not."""
        answer = await self._run(
            "claim",
            {
                "id": run_id,
                "worker": worker,
                "message": message,
                "nonce": uuid.uuid4().hex,
                "lease_ms": _ms(self.rules.lease),
                "limits": self._limits,
            },
        )
        if answer[0] == "claimed":
            return RunRow.from_hash(_pairs(answer[1]))
        return cast(str, answer[0])

    async def renew(self, run_id: str, token: int, *, cost: int = 0, checkpoint: Any = None) -> str | None:
        """
        Keep the claim for another lease; store what must survive its loss.

        Returns why the run shall stop, if a person cancelled it.
        """
        request: dict[str, Any] = {
            "id": run_id,
            "token": token,
            "cost": cost,
            "lease_ms": _ms(self.rules.lease),
        }
        if checkpoint is not None:
            request["checkpoint"] = json.dumps(checkpoint)
        answer = await self._run("renew", request)
        if answer[0] == "lost":
            raise LostLease(f"run {run_id}: claim {token} is no longer the one that counts")
        return cast(str, answer[1]) if answer[0] == "cancelled" else None

    async def settle(self, run_id: str, token: int, outcome: Outcome, *, cost: int = 0) -> State:
        """End the run or put it back; returns where it stands now."""
        answer = await self._run(
            "settle",
            {
                "id": run_id,
                "token": token,
                "state": outcome.state,
                "reason": outcome.reason,
                "result": json.dumps(outcome.facts, default=str) if outcome.facts else "",
                "cost": cost,
                "after_ms": _ms(outcome.after),
                "spends": outcome.spends,
                "limits": self._limits,
            },
        )
        if answer[0] != "settled":
            raise LostLease(f"run {run_id}: claim {token} is no longer the one that counts")
        return State(answer[1])

    async def cancel(self, run_id: str, *, reason: str = "cancelled") -> Literal["settled", "asked"]:
        """End a waiting run; ask the worker of a running one to stop."""
        answer = await self._run("settle", {"id": run_id, "state": State.SKIPPED, "reason": reason})
        if answer[0] == "missing":
            raise _unknown(run_id)
        if answer[0] == "lost":
            raise NotPossible(
                f"run {run_id!r} has ended already ({answer[1]}), so there is nothing to cancel"
            )
        return cast(Literal["settled", "asked"], answer[0])

    # Reading

    async def now(self) -> datetime:
        """The instant by which runs are ready and leases lapse."""
        return self._clock() if self._clock else await store_now(self.redis)

    async def find(self, run_id: str) -> RunRow | None:
        row = await text_hash(self.redis, self.keys.run(run_id))
        return RunRow.from_hash(row) if row.get("id") else None

    async def get(self, run_id: str) -> RunRow:
        row = await self.find(run_id)
        if row is None:
            raise _unknown(run_id)
        return row

    async def rows(self, run_ids: Sequence[str]) -> list[RunRow]:
        """The rows that are there, in the order asked for."""
        pipeline = self.redis.pipeline(transaction=False)
        for run_id in run_ids:
            pipeline.hgetall(self.keys.run(run_id))
        return [RunRow.from_hash(row) for row in await pipeline.execute() if row.get("id")]

    async def open_runs(self, *, limit: int = 100, start: int = 0) -> list[RunRow]:
        """Runs that have not ended, those to be looked at soonest first."""
        return await self.rows(await text_list(self.redis.zrange(self.keys.open, start, start + limit - 1)))

    async def ended_runs(self, state: State, *, limit: int = 100, start: int = 0) -> list[RunRow]:
        """Runs that ended in this state, newest first."""
        newest = self.redis.zrevrange(self.keys.ended(state), start, start + limit - 1)
        return await self.rows(await text_list(newest))

    async def counts(self) -> dict[str, int]:
        """How many runs are open, and how many ended in each state and are still kept."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.zcard(self.keys.open)
        for state in ENDED:
            pipeline.zcard(self.keys.ended(state))
        numbers = await pipeline.execute()
        return dict(zip(("open", *ENDED), numbers, strict=True))

    async def skips(self, source: str) -> list[Skip]:
        """The last slots of this source that made no run, newest first."""
        rows = [json.loads(row) for row in await text_list(self.redis.lrange(self.keys.skips(source), 0, -1))]
        return [
            Skip(
                from_ms(row["at"]),
                from_ms(row["nominal"]),
                row["reason"],
                int(row["times"]),
                row.get("detail") or "",
                from_ms(row["till"]) if "till" in row else None,
            )
            for row in rows
        ]

    async def tally(self, day: date) -> dict[tuple[str, str], int]:
        """Counts and cost (micro-USD) of one day by source and kind."""
        row = await text_hash(self.redis, self.tally_key(day))
        found = {}
        for name, value in row.items():
            source, _, kind = name.rpartition("|")
            found[source, kind] = int(value)
        return found

    def tally_key(self, day: date) -> str:
        return self.keys.tally(day.toordinal() - DAYS_BEFORE_1970)

    async def forget_ended(self, state: State, before: datetime, *, batch: int = 500) -> AsyncIterator[int]:
        """Drop runs of this state that ended before; yields how many, batch by batch."""
        index = self.keys.ended(state)
        while True:
            async with self.redis.pipeline(transaction=True) as pipeline:
                # A run that is replayed meanwhile leaves the index, and must not be dropped.
                await pipeline.watch(index)
                older = f"({to_ms(before)}"
                ids = await text_list(pipeline.zrangebyscore(index, "-inf", older, start=0, num=batch))
                if not ids:
                    return
                begin: Any = pipeline.multi
                begin()
                pipeline.zrem(index, *ids)
                pipeline.delete(*(self.keys.run(run_id) for run_id in ids))
                try:
                    await pipeline.execute()
                except WatchError:
                    continue
            yield len(ids)

    # How

    @property
    def _limits(self) -> dict[str, int]:
        return {"attempts": self.rules.attempts, "retries": self.rules.retries}

    @property
    def _visit_limits(self) -> dict[str, int]:
        rules = self.rules
        return {
            "ahead_ms": _ms(rules.visit_ahead),
            "again_ms": _ms(rules.visit_again),
            "late_ms": _ms(rules.visit_late),
        }

    def _arguments(self, request: Mapping[str, Any]) -> bytes:
        now = {"now": to_ms(self._clock())} if self._clock else {}
        return encoded({**request, **now})

    async def _run(self, name: str, request: Mapping[str, Any]) -> Any:
        try:
            return await self._scripts[name](keys=[self.keys.root], args=[self._arguments(request)])
        except RedisError as error:
            raise translated(error) from error


def _recording(
    run: RunRequest | None, advance: Advance | None, missed: Missed | None, visit: VisitMove | None = None
) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if run:
        request["run"] = run.as_script_argument()
    if advance:
        request["advance"] = {
            "index": advance.index,
            "member": advance.member,
            "expected": repr(advance.expected),
            "row": advance.row,
            "fields": dict(advance.fields),
        }
        if advance.next is not None:
            request["advance"]["next"] = repr(advance.next)
    if missed:
        request["missed"] = {
            "source": missed.source,
            "times": missed.times,
            "from": str(to_ms(missed.first)),
            "till": missed.last.isoformat(),
            "reason": missed.reason,
        }
    if visit:
        request["visit"] = _moving(visit)
    return request


def _moving(visit: VisitMove) -> dict[str, Any]:
    fields = {name: str(value) for name, value in visit.fields.items()}
    move: dict[str, Any] = {"channel": visit.channel, "generation": str(visit.generation), "fields": fields}
    if visit.next:
        move["next"] = str(to_ms(visit.next))
    if visit.nominal and visit.skipped:
        move["skip"] = {
            "reason": visit.skipped,
            "nominal": str(to_ms(visit.nominal)),
            "detail": visit.detail,
        }
    return move


def _unknown(run_id: str) -> UnknownRun:
    return UnknownRun(f"no run is called {run_id!r}; `nightshift runs` lists those that are kept")


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
