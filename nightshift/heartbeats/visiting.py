"""
A visit: what is known of the channel, the gates, and what became of it, noted in one script.

Many visits are read, judged and noted together, so that one costs little. No token is spent here: a visit
that passes becomes a run, and that asks a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import Any, Protocol

from redis.exceptions import RedisError

from nightshift.agents.agent import Agent
from nightshift.base.errors import UnknownAgent
from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.base.words import span
from nightshift.channels.channel import NEVER, Channel
from nightshift.heartbeats import plan
from nightshift.heartbeats.gates import Gate, GateVerdict, Quiet, Snapshot, judge
from nightshift.heartbeats.row import VisitRow, source_of
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.runs.ledger import DueVisit, Ledger, Recorded, VisitMove
from nightshift.runs.row import RunId, RunRequest, run_id
from nightshift.runs.states import Overlap
from nightshift.store.client import translated
from nightshift.time.zones import zone

THINK = "tasks.heartbeat.think"
QUEUE = "heartbeat"
#: A look into a channel that takes longer is cut.
DEADLINE = timedelta(minutes=2)


class Outside(Protocol):
    """What stands in a visit's way outside its channel, each in a few words, or nothing."""

    async def stopped(self) -> Mapping[Gate, str]:
        """The gates that no visit passes now."""
        ...

    async def unreachable(self, agent: Agent, refs: Sequence[ChannelRef]) -> Mapping[ChannelRef, str]:
        """The channels that what this agent says would not reach."""
        ...

    async def busy(self, agent: Agent, ref: ChannelRef) -> str:
        """What this agent is at, or what is not yet over in the channel."""
        ...

    async def over_budget(self, run: RunId, agent: Agent, ref: ChannelRef, needs: int) -> str:
        """Whose cap has no room for a look into this channel, of which is known that it needs so much."""
        ...


@dataclass(frozen=True)
class Visited:
    """What became of one visit."""

    ref: ChannelRef
    verdict: GateVerdict
    #: The run that was recorded, if it passed.
    run: RunId | None
    next: datetime | None
    #: ``stale``: another process was first, and nothing was changed.
    recorded: Recorded


@dataclass(frozen=True)
class _Known:
    """A channel whose visit it is."""

    channel: Channel
    agent: Agent | None
    row: VisitRow
    seen: Snapshot


class Visiting:
    """Carries visits out; one of these serves any number at once."""

    def __init__(
        self,
        ledger: Ledger,
        rules: RuleBook,
        agent_of: Callable[[str, str], Agent],
        outside: Outside,
        *,
        lot: Random | None = None,
    ) -> None:
        """``lot`` replaces chance in tests."""
        self._ledger = ledger
        self._rules = rules
        self._agent_of = agent_of
        self._outside = outside
        self._lot = lot or Random()  # noqa: S311  nobody gains by guessing it

    async def visit(self, due: Iterable[DueVisit], *, now: datetime | None = None) -> list[Visited]:
        """
        Carry out the visits that still count; whatever was handed out twice or too late is left alone.

        The pulse gives what is too late another time, as it does if it finds it late itself.
        The store's clock rules unless ``now`` is given.
        """
        generations = {ChannelRef.parse(each.channel): each.generation for each in due}
        rules, known = await self._read(list(generations), now)
        current = [each for each in known if each.row.generation == generations[each.channel.ref]]
        return await self._carry_out([each for each in current if self._in_time(each)], rules)

    async def visit_now(self, ref: ChannelRef, *, now: datetime | None = None) -> Visited | None:
        """
        Visit a channel at once, whenever its next visit was to be; nothing if it is not visited.

        Quiet hours, a week without people and an unchanged channel do not matter then. All else does, also
        how often it was looked into of late.
        """
        rules, known = await self._read([ref], now)
        by_hand = [replace(each, seen=replace(each.seen, by_hand=True)) for each in known]
        return next(iter(await self._carry_out(by_hand, rules)), None)

    def _in_time(self, each: _Known) -> bool:
        at = each.row.next_at
        return at is not None and each.seen.now <= at + self._ledger.rules.visit_late

    async def _read(
        self, refs: Sequence[ChannelRef], now: datetime | None
    ) -> tuple[HeartbeatRules, list[_Known]]:
        keys = self._ledger.keys
        pipeline = self._ledger.redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.hgetall(keys.heartbeat_rules)
        for ref in refs:
            pipeline.hgetall(keys.visit(str(ref)))
            pipeline.hgetall(keys.channel(ref))
        try:
            (seconds, micros), stored, *rows = await pipeline.execute()
        except RedisError as error:
            raise translated(error) from error
        now = now or datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)
        known = [
            self._known(Channel.from_hash(channel), visit, now)
            for row, channel in zip(rows[::2], rows[1::2], strict=True)
            if channel and (visit := VisitRow.from_hash(row))
        ]
        return self._rules.from_stored(stored), known

    def _known(self, channel: Channel, row: VisitRow, now: datetime) -> _Known:
        paused = f"by {channel.paused_by}" if channel.paused_by else ""
        agent, quiet = None, None
        try:
            agent = self._agent_of(channel.agent, channel.tenant)
            quiet = quiet_hours(channel, agent)
        except UnknownAgent as error:
            paused = str(error)
        seen = Snapshot(now, row, channel.digest, channel.last_human_at, quiet, paused=paused)
        return _Known(channel, agent, row, seen)

    async def _carry_out(self, known: Sequence[_Known], rules: HeartbeatRules) -> list[Visited]:
        if not known:
            return []
        stopped = await self._outside.stopped()
        unreachable = await self._unreachable(known)
        judged = []
        for each in known:
            seen = replace(
                each.seen,
                frozen=stopped.get(Gate.FROZEN, ""),
                breaker=stopped.get(Gate.BREAKER, ""),
                adapter=unreachable.get(each.channel.ref, ""),
                busy=_being_written(each, rules),
            )
            verdict = judge(seen, rules)
            if verdict.passes and each.agent:
                # What has to be asked of each channel is asked only of those that come this far.
                agent, ref, needs = each.agent, each.channel.ref, each.row.needs
                seen = replace(
                    seen,
                    busy=await self._outside.busy(agent, ref),
                    budget=await self._outside.over_budget(_run_id(each), agent, ref, needs),
                )
                verdict = judge(seen, rules)
            judged.append((replace(each, seen=seen), verdict))
        return await self._note(judged, rules)

    async def _unreachable(self, known: Sequence[_Known]) -> dict[ChannelRef, str]:
        by_agent: dict[Agent, list[ChannelRef]] = {}
        for each in known:
            if each.agent:
                by_agent.setdefault(each.agent, []).append(each.channel.ref)
        found: dict[ChannelRef, str] = {}
        for agent, refs in by_agent.items():
            found.update(await self._outside.unreachable(agent, refs))
        return found

    async def _note(
        self, judged: Sequence[tuple[_Known, GateVerdict]], rules: HeartbeatRules
    ) -> list[Visited]:
        planned = [(*each, plan.next_visit(each[1], each[0].seen, rules, self._lot)) for each in judged]
        answers = await self._ledger.record_visits(
            (_request(known, verdict) if verdict.passes else None, _move(known, verdict, next, rules))
            for known, verdict, next in planned
        )
        return [
            Visited(known.channel.ref, verdict, _run_id(known) if verdict.passes else None, next, answer)
            for (known, verdict, next), answer in zip(planned, answers, strict=True)
        ]


def quiet_hours(channel: Channel, agent: Agent) -> Quiet | None:
    """The hours in which nobody is disturbed in this channel, if there are any."""
    if channel.quiet_hours == NEVER:
        return None
    start, end = agent.quiet_from, agent.quiet_until
    if channel.quiet_hours:
        start, end = map(time.fromisoformat, channel.quiet_hours.split("-"))
    return Quiet(zone(agent.zone), start, end) if start != end else None


def _being_written(each: _Known, rules: HeartbeatRules) -> str:
    last = each.channel.last_human_at
    # A platform's clock may be a little ahead of ours.
    if last and last - rules.turn < each.seen.now < last + rules.turn:
        return f"a person wrote {span(each.seen.now - last)} ago, and has {span(rules.turn)} to go on"
    return ""


def _nominal(each: _Known) -> datetime:
    """What instant the visit is for: its own, or this one if a person asked for it."""
    return each.seen.now if each.seen.by_hand or each.row.next_at is None else each.row.next_at


def _run_id(each: _Known) -> RunId:
    return run_id(source_of(each.channel.ref), _nominal(each))


def _request(each: _Known, verdict: GateVerdict) -> RunRequest:
    ref = each.channel.ref
    source = source_of(ref)
    return RunRequest(
        id=_run_id(each),
        source=source,
        nominal=_nominal(each),
        task=THINK,
        queue=QUEUE,
        lane=source,
        overlap=Overlap.SKIP,
        deadline=DEADLINE,
        payload={
            "channel": str(ref),
            "digest": each.channel.digest,
            # Of the visit that is placed in the same breath: a failure moves that one.
            "generation": each.row.generation + 1,
            "failures": each.row.failures,
            "own_failures": each.row.own_failures,
        },
        tenant=each.channel.tenant,
        agent=each.channel.agent,
        cause="asked for by hand" if each.seen.by_hand else _cause(verdict),
    )


def _cause(verdict: GateVerdict) -> str:
    return "its turn to speak first" if verdict.forced else "something changed"


def _move(each: _Known, verdict: GateVerdict, next: datetime | None, rules: HeartbeatRules) -> VisitMove:
    fields: dict[str, Any] = {
        "interval_ms": rules.interval // timedelta(milliseconds=1),
        "unchanged": plan.unchanged_after(verdict, each.seen),
        "deferred": each.row.deferred + 1 if verdict.deferred else 0,
        "deferred_for": verdict.value if verdict.deferred else "",
    }
    if verdict.passes:
        fields["starts"] = each.row.with_start(each.seen.now)
    if next is None:
        fields["suspended_at"] = to_ms(each.seen.now)
    return VisitMove(
        channel=str(each.channel.ref),
        generation=each.row.generation,
        next=next,
        fields=fields,
        skipped="" if verdict.deferred else verdict.gate or "",
        detail=verdict.value,
        nominal=_nominal(each),
    )
