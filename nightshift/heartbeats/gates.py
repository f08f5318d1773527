"""
Whether a visit is worth a model's time: gates in a fixed order, each a comparison of what is known.

Nothing here costs a token. The first gate that says no decides, and says with which value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

from nightshift.base.words import clock, span, times
from nightshift.heartbeats.row import VisitRow
from nightshift.heartbeats.rules import DAY, HeartbeatRules


class Gate(StrEnum):
    """What can keep a visit from being; in the order in which they are asked."""

    FROZEN = "frozen"
    BREAKER = "breaker"
    ADAPTER = "adapter_down"
    PAUSED = "paused"
    NO_HUMAN = "no_human"
    QUIET = "quiet_hours"
    SPACING = "spacing"
    FLOOD = "flood"
    UNCHANGED = "unchanged"
    ACTS = "acts"
    BUSY = "busy"
    BUDGET = "budget"


@dataclass(frozen=True)
class Quiet:
    """Hours in which nobody is disturbed; they may reach over midnight."""

    zone: ZoneInfo
    start: time
    end: time

    def covers(self, now: datetime) -> bool:
        local = now.astimezone(self.zone).time()
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def end_after(self, now: datetime) -> datetime:
        """When they are over next."""
        local = now.astimezone(self.zone)
        end = datetime.combine(local.date(), self.end, self.zone)
        return end if end > local else datetime.combine(local.date() + DAY, self.end, self.zone)

    def __str__(self) -> str:
        return f"{self.start:%H:%M} to {self.end:%H:%M} {self.zone}"


@dataclass(frozen=True)
class Snapshot:
    """All that the gates look at, as it stood at one moment. A reason that is empty does not hold."""

    now: datetime
    row: VisitRow
    digest: str
    last_human_at: datetime | None
    quiet: Quiet | None
    frozen: str = ""
    breaker: str = ""
    adapter: str = ""
    paused: str = ""
    busy: str = ""
    budget: str = ""
    #: A person asked for this visit: it need not wait for people, for morning or for news.
    by_hand: bool = False


@dataclass(frozen=True)
class GateVerdict:
    """Which gate said no, if any, and with what value."""

    gate: Gate | None = None
    value: str = ""
    #: Nothing changed, but it is time that the agent may speak first.
    forced: bool = False
    #: Only put off for a moment, rather than skipped.
    deferred: bool = False

    @property
    def passes(self) -> bool:
        return self.gate is None


def judge(seen: Snapshot, rules: HeartbeatRules) -> GateVerdict:
    """Ask each gate in order."""
    for gate, reason in (
        (Gate.FROZEN, seen.frozen),
        (Gate.BREAKER, seen.breaker),
        (Gate.ADAPTER, seen.adapter),
        (Gate.PAUSED, seen.paused),
    ):
        if reason:
            return GateVerdict(gate, reason)
    if not seen.by_hand and (verdict := _disturbs(seen, rules)):
        return verdict
    if verdict := _too_often(seen, rules):
        return verdict
    if not seen.by_hand and (verdict := _nothing_new(seen, rules)):
        return verdict
    forced = seen.digest == seen.row.digest
    if acts := _acts(seen, rules):
        return acts
    if seen.busy:
        deferred = not seen.by_hand and seen.row.deferred < rules.defers
        return GateVerdict(Gate.BUSY, seen.busy, deferred=deferred)
    if seen.budget:
        return GateVerdict(Gate.BUDGET, seen.budget)
    return GateVerdict(forced=forced)


def _disturbs(seen: Snapshot, rules: HeartbeatRules) -> GateVerdict | None:
    now = seen.now
    quiet_since = seen.last_human_at or seen.row.adopted_at
    if now - quiet_since >= rules.suspend_after:
        return GateVerdict(Gate.NO_HUMAN, f"no human for {span(now - quiet_since)}")
    if seen.quiet and seen.quiet.covers(now):
        return GateVerdict(Gate.QUIET, str(seen.quiet))
    return None


def _too_often(seen: Snapshot, rules: HeartbeatRules) -> GateVerdict | None:
    now = seen.now
    starts = [start for start in seen.row.starts if start <= now]
    if starts and now - starts[-1] < rules.spacing:
        return GateVerdict(Gate.SPACING, f"{span(now - starts[-1])} after the last start")
    recent = [start for start in starts if now - start < rules.flood_window]
    if len(recent) >= rules.flood_starts:
        return GateVerdict(Gate.FLOOD, f"started {times(len(recent))} in {span(rules.flood_window)}")
    return None


def _nothing_new(seen: Snapshot, rules: HeartbeatRules) -> GateVerdict | None:
    row, now = seen.row, seen.now
    looked_at = row.thought_at or row.adopted_at
    # A look that is yet to come means that the clock was set back: it counts as long ago.
    if seen.digest == row.digest and looked_at <= now < looked_at + rules.forced_after:
        return GateVerdict(Gate.UNCHANGED, f"nothing new since {clock(looked_at)}")
    return None


def _acts(seen: Snapshot, rules: HeartbeatRules) -> GateVerdict | None:
    acts = seen.row.acts_between(seen.now - DAY, seen.now)
    return (
        GateVerdict(Gate.ACTS, f"spoke up {times(acts)} within a day") if acts >= rules.acts_per_day else None
    )
