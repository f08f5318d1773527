"""The answer to a why; ``why_run``, ``why_job`` and ``why_channel`` give it, from rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.runs.states import State


@dataclass(frozen=True)
class Why:
    """The answer, the main reason first."""

    subject: str
    says: Sequence[str]
    #: The run the answer is about, if there is one, and where it stands.
    run: str | None = None
    state: State | None = None
    #: Of a job: the slot the answer is about, and the one announced next.
    slot: datetime | None = None
    next: datetime | None = None
