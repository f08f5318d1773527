"""Who pays for a call: the names that its cost is counted under, and how soon it gives way to others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # carrying a run out reads what a purse raises
    from nightshift.runs.carry import Run


class Level(StrEnum):
    """What a cap may be set on. Of a run it counts in all, of everything else by the day."""

    RUN = "run"
    SOURCE = "source"
    CHANNEL = "channel"
    AGENT = "agent"
    JOB = "job"
    TENANT = "tenant"
    MODEL = "model"
    DAY = "day"

    @property
    def shared(self) -> bool:
        """Whether work of several kinds meets here, so that one may have to leave room for another."""
        return self not in (Level.RUN, Level.SOURCE, Level.JOB)


class Listed(StrEnum):
    """The levels that costs are listed by; what a run has cost stands on its row."""

    AGENT = Level.AGENT
    JOB = Level.JOB
    CHANNEL = Level.CHANNEL
    MODEL = Level.MODEL
    DAY = Level.DAY
    TENANT = Level.TENANT
    SOURCE = Level.SOURCE


class Occasion(StrEnum):
    """What a call is for, the first to be shed first."""

    HEARTBEAT = "heartbeat"
    MEMORY = "memory"
    EVENT = "event"
    SCHEDULE = "schedule"
    PERSON = "person"

    @property
    def share(self) -> int:
        """How much of a shared cap it may fill, in percent."""
        return {Occasion.HEARTBEAT: 85, Occasion.MEMORY: 90, Occasion.EVENT: 95}.get(self, 100)


@dataclass(frozen=True)
class Payer:
    """For whom a model is asked."""

    run: str
    #: What the run is an occurrence of: ``job:NAME``, a schedule's id, ``heartbeat:CHANNEL``.
    source: str
    tenant: str = "default"
    agent: str = ""
    channel: str = ""
    kind: Occasion = Occasion.SCHEDULE
    #: Told what each call cost, in micro-USD, as soon as it is known.
    spend: Callable[[int], object] = field(default=lambda _: None, repr=False, compare=False)

    @classmethod
    def of(cls, run: Run, kind: Occasion, channel: str = "") -> Self:
        """Who pays for what this run asks; what it cost counts against the run."""
        row = run.row
        return cls(row.id, row.source, row.tenant, row.agent, channel, kind, run.spend)

    @property
    def job(self) -> str:
        """The job by its name; of other work its sort, such as ``heartbeat`` or ``prompt``."""
        sort, _, name = self.source.partition(":")
        return name if sort == "job" else sort

    def levels(self, model: str) -> dict[Level, str]:
        """Each level that a call to this model counts on, and by which name."""
        names = {
            Level.RUN: self.run,
            Level.SOURCE: self.source,
            Level.CHANNEL: self.channel,
            Level.AGENT: self.agent,
            Level.JOB: self.job,
            Level.TENANT: self.tenant,
            Level.MODEL: model,
        }
        return {level: name for level, name in names.items() if name} | {Level.DAY: ""}


def __getattr__(name: str) -> Any:
    """``Kind`` is the old name of ``Occasion``, kept until 0.2."""
    if name != "Kind":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        "nightshift.money.payer.Kind goes with 0.2; it is tasks.job.Occasion",
        DeprecationWarning,
        stacklevel=2,
    )
    return Occasion
