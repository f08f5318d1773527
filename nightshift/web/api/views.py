"""Runs, jobs and the rest as the API tells them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from nightshift.base.instants import EPOCH
from nightshift.runs.row import RunRow
from nightshift.runs.states import State

#: Instants around which a calendar can still be reckoned.
Instant = Annotated[AwareDatetime, Field(ge=EPOCH, lt=datetime(9000, 1, 1, tzinfo=UTC))]


def _carried_by_json(value: Any) -> Any:
    """The value without halves of characters and numbers that are none."""
    text = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    return json.loads(text, parse_constant=lambda _: None)


#: What the work of others stored.
Stored = Annotated[Any, BeforeValidator(_carried_by_json)]


class View(BaseModel):
    """Read from an object of ours, field by field."""

    model_config = ConfigDict(from_attributes=True)


class RunView(View):
    """A run as it stands in a list."""

    id: str
    source: str = Field(description="the job (`job:NAME`) or schedule that it is an occurrence of")
    nominal: datetime = Field(description="the instant it is for")
    state: State
    reason: str
    attempts: int
    cost: int = Field(description="micro-USD")
    queue: str
    tenant: str
    agent: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    worker: str


class StoryLineView(View):
    """One thing that happened to a run."""

    at: datetime
    what: str
    detail: str


class RunStory(RunView):
    """A run, and all that is known of it."""

    task: str
    lane: str
    ready: datetime
    deadline_s: float
    retries: int
    lease: datetime | None
    task_id: str = Field(description="Celery's id of the message that it was last claimed with")
    payload: Stored
    checkpoint: Stored
    result: Stored
    story: list[StoryLineView]

    @classmethod
    def of(cls, row: RunRow) -> Self:
        facts = {name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)}
        return cls.model_validate(
            facts | {"deadline_s": row.deadline.total_seconds(), "task_id": row.message}
        )


class RunPage(View):
    """Some runs, and where the next page begins."""

    runs: list[RunView]
    next: str | None = Field(description="give it as `after` for the next page; null if this is the last")


class LastRunView(View):
    """The run of a job that is open, or else the one that ended last."""

    run: str
    state: State
    ended: datetime | None
    reason: str


class JobRow(View):
    """A periodic job: on or off and why, what it did last and does next."""

    name: str
    on: bool
    why: str
    queue: str
    cadence: str
    last: LastRunView | None
    next: datetime | None
    cost_today: int = Field(description="micro-USD since midnight UTC")


class JobPage(View):
    """Some jobs by name, and where the next page begins."""

    jobs: list[JobRow]
    next: str | None = Field(description="give it as `after` for the next page; null if this is the last")


class ScheduleRow(View):
    """A schedule, and when it is due next."""

    id: str
    cadence: str
    task: str
    queue: str
    tenant: str
    agent: str
    next: datetime


class SchedulePage(View):
    """Some schedules, those due soonest first, and where the next page begins."""

    schedules: list[ScheduleRow]
    next: str | None = Field(description="give it as `after` for the next page; null if this is the last")


class Reason(View):
    """Why something is as it is, the main reason first."""

    subject: str
    says: list[str]
    run: str | None
    state: State | None
    slot: datetime | None
    next: datetime | None


class ProcessView(View):
    """A process, as it last reported itself."""

    name: str
    kind: str
    pid: int
    host: str
    seen: datetime
    alive: bool
    facts: Mapping[str, Any]


class BotView(View):
    """A process of an agent's bot, as it was last heard of."""

    agent: str
    tenant: str
    platform: str
    process: str
    channels: int | None = Field(description="how many it serves; null: all of the platform")
    connected_since: datetime
    heard: datetime
    alive: bool


class PulseView(View):
    """Who hands out what is due."""

    holder: str
    until: datetime | None
    held: bool


class FreezingView(View):
    """Who stopped every call and send, when and why."""

    by: str
    reason: str
    since: datetime


class Standing(View):
    """How the deployment stands."""

    ready: bool
    why: list[str]
    warnings: list[str] = Field(description="what is worth a look though it is ready")
    at: datetime
    processes: list[ProcessView]
    bots: list[BotView] = Field(description="of agents: those there, and those that fell silent within a day")
    pulse: PulseView
    open: Mapping[str, int]
    counts: Mapping[str, int]
    today: Mapping[str, int]
    switches: Mapping[str, bool]
    paused: Mapping[str, str]
    frozen: FreezingView | None = Field(description="null unless every call and send is stopped")


class Done(BaseModel):
    """What was done."""

    says: str
    run: str | None = None
