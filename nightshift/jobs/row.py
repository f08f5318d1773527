"""A row of the job table: what runs, when, where, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from nightshift.controls.switches import KNOWN
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.runs.row import DEADLINE
from nightshift.runs.states import Overlap
from nightshift.time.cadence import Cadence
from nightshift.time.misfire import Misfire


class Need(StrEnum):
    """What must be there for a job to make sense."""

    REDIS = "REDIS"
    GRAPH = "GRAPH"
    CHAT_LLM = "CHAT_LLM"
    #: An endpoint that asks for a key.
    KEY_POOL = "KEY_POOL"


class Named(Protocol):
    """A Celery task, of which the table knows just this."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class OnlyIf:
    """The switch that must be on; none for a job that is always wanted."""

    switch: str | None = None


always = OnlyIf()


def flag(name: str) -> OnlyIf:
    """Only while the switch of this name is on."""
    if name not in KNOWN:
        raise ValueError(f"switch {name!r} is not known; known ones: {', '.join(sorted(KNOWN))}")
    return OnlyIf(name)


@dataclass(frozen=True)
class Job:
    """One periodic job."""

    name: str
    task: Named
    when: Cadence
    first_run_after: timedelta
    queue: str
    needs: tuple[Need, ...]
    only_if: OnlyIf
    late: Misfire
    #: Spreads equal jobs of many deployments; positive and the same each time.
    jitter: timedelta = timedelta(0)
    deadline: timedelta = DEADLINE
    overlap: Overlap = Overlap.SKIP
    #: The pulse's own trigger is published; everything else is recorded.
    recorded: bool = True

    def __post_init__(self) -> None:
        if self.queue not in QUEUE_NAMES:
            raise ValueError(
                f"job {self.name!r} names queue {self.queue!r}; there are {', '.join(sorted(QUEUE_NAMES))}"
            )

    @property
    def source(self) -> str:
        """What the ledger calls this job."""
        return source_of(self.name)


def source_of(job: str) -> str:
    """What the ledger calls the job of this name."""
    return f"job:{job}"
