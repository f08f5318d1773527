"""When a channel is visited next. The instant is passed in, and so is whatever is drawn by lot."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

from nightshift.heartbeats.gates import Gate, GateVerdict, Snapshot
from nightshift.heartbeats.rules import DAY, HeartbeatRules


def spread(rules: HeartbeatRules, lot: Random) -> timedelta:
    """Any moment of the interval: for channels that would otherwise be visited together."""
    return rules.interval * lot.random()


def interval(rules: HeartbeatRules, unchanged: int, lot: Random) -> timedelta:
    """The pause after a visit, longer where nothing has happened for a while."""
    doublings = min(unchanged // rules.stretch_after, 10)
    stretch = min(1 << doublings, rules.stretch_at_most)
    return rules.interval * stretch * (1 + rules.jitter * lot.uniform(-1, 1))


def backoff(rules: HeartbeatRules, failures: int) -> timedelta:
    """The pause after so many failures in a row; a visit any sooner would be skipped for its spacing."""
    return max(rules.backoff[min(failures, len(rules.backoff)) - 1], rules.spacing)


def longest_pause(rules: HeartbeatRules) -> timedelta:
    """No visit lies further ahead than this, unless a clock was set meanwhile."""
    return rules.interval * rules.stretch_at_most * (1 + rules.jitter) + rules.interval + DAY


def unchanged_after(verdict: GateVerdict, seen: Snapshot) -> int:
    """How many visits in a row have found nothing changed, this one included."""
    if verdict.gate is Gate.UNCHANGED or verdict.forced:
        return seen.row.unchanged + 1
    return 0 if verdict.passes else seen.row.unchanged


def next_visit(verdict: GateVerdict, seen: Snapshot, rules: HeartbeatRules, lot: Random) -> datetime | None:
    """The channel's next visit; none if it is suspended."""
    now = seen.now
    if verdict.gate is Gate.NO_HUMAN:
        return None
    if verdict.deferred:
        return now + rules.defer
    if verdict.gate is Gate.QUIET and seen.quiet:
        return seen.quiet.end_after(now) + spread(rules, lot)
    return now + interval(rules, unchanged_after(verdict, seen), lot)
