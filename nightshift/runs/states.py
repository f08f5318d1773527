"""
What may happen to a run, apart from where it is stored.

    waiting ── claim ──▶ running ── settle ──▶ done | skipped | failed
       ▲                    │
       └── settle(again) ───┘    a lost lease does the same and spends an attempt
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in ENDED


OPEN = (State.WAITING, State.RUNNING)
ENDED = (State.DONE, State.SKIPPED, State.FAILED)
#: Half of what one worker carries out at once.
SHARE = 50


class Overlap(StrEnum):
    """What becomes of a slot that finds the run before it still open."""

    SKIP = "skip"
    ALLOW = "allow"


@dataclass(frozen=True)
class Rules:
    """The ledger's limits; one object so that tests can shorten them together."""

    lease: timedelta = timedelta(seconds=30)
    #: Lost leases and crashes a run survives.
    attempts: int = 3
    #: Times the other side may ask us to come back before the run fails.
    retries: int = 6
    #: A waiting run nobody claimed is hinted again after this, doubling up to `hint_ceiling`.
    hint_again: timedelta = timedelta(seconds=30)
    hint_ceiling: timedelta = timedelta(minutes=15)
    #: How long the pulse's shift outlives its last look, and when it may be relieved.
    shift_lease: timedelta = timedelta(seconds=10)
    shift: timedelta = timedelta(minutes=1)
    #: Work that no bot asked for is offered this long.
    unasked: timedelta = timedelta(hours=24)
    #: Runs of one tenant in flight on one queue while other tenants have work.
    share: int = SHARE
    #: A channel's visit is handed out this much ahead of its time, again if its message was lost, and no more
    #: once it is too late.
    visit_ahead: timedelta = timedelta(seconds=5)
    visit_again: timedelta = timedelta(minutes=1)
    visit_late: timedelta = timedelta(minutes=2)

    @classmethod
    def for_lease(cls, lease: timedelta, *, share: int = SHARE) -> Rules:
        """The rules in proportion to how long a claim outlives its worker."""
        return cls(lease=lease, hint_again=lease, shift_lease=lease / 3, share=share)


def retry_pause(tries: int) -> timedelta:
    """How long to leave a run alone after its ``tries``-th failure, when nobody named a time."""
    return min(timedelta(seconds=5) * (1 << 2 * min(max(tries - 1, 0), 10)), timedelta(minutes=10))


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a run came out. Made by the functions below."""

    state: State
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    #: For a run that goes back to waiting: when to try again, and what it counts against.
    after: timedelta = timedelta(0)
    spends: str = ""


def done(**facts: Any) -> Outcome:
    """The work is finished; ``facts`` say what it did."""
    return Outcome(State.DONE, facts=facts)


def skipped(reason: str, **facts: Any) -> Outcome:
    """There was nothing to do, or a gate said no."""
    return Outcome(State.SKIPPED, reason, facts)


def failed(reason: str, **facts: Any) -> Outcome:
    """It did not work and would not work again."""
    return Outcome(State.FAILED, reason, facts)


def handed_back(reason: str) -> Outcome:
    """Somebody else shall go on at once; counts against nothing."""
    return Outcome(State.WAITING, reason)


def held_up(reason: str, after: timedelta) -> Outcome:
    """It may not go on yet, for no fault of its own or of the other side; counts against nothing."""
    return Outcome(State.WAITING, reason, after=after)


def postponed(reason: str, after: timedelta) -> Outcome:
    """The other side asked us to come back; counts as a retry, not as an attempt."""
    return Outcome(State.WAITING, reason, after=after, spends="retries")


def crashed(reason: str, after: timedelta) -> Outcome:
    """The attempt broke; counts as one."""
    return Outcome(State.WAITING, reason, after=after, spends="attempts")
