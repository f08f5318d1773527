"""A run and a request for one, as they stand in the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NewType

from nightshift.base.instants import from_ms, to_ms
from nightshift.base.refs import LONGEST_REF
from nightshift.runs.states import Overlap, State

RunId = NewType("RunId", str)

#: No id of a run or a delivery is longer, nor a place in a list of them: each may hold a channel's name.
LONGEST_RUN_ID = LONGEST_REF + 500

#: A run that says nothing else is cut after this long.
DEADLINE = timedelta(minutes=5)


def run_id(source: str, nominal: datetime) -> RunId:
    """The run's name is what it is for, so recording it twice is recording it once."""
    instant = nominal.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return RunId(f"{source}@{instant.removesuffix('.000')}Z")


@dataclass(frozen=True)
class RunRequest:
    """A reason to work."""

    id: RunId
    source: str
    nominal: datetime
    task: str
    queue: str
    #: Carry it out no sooner; the nominal time when unset.
    ready: datetime | None = None
    #: Runs in one lane are carried out one after the other.
    lane: str = ""
    overlap: Overlap = Overlap.ALLOW
    deadline: timedelta = DEADLINE
    payload: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    agent: str = ""
    cause: str = ""

    def as_script_argument(self) -> dict[str, str]:
        return {
            "id": self.id,
            "source": self.source,
            "nominal": str(to_ms(self.nominal)),
            "task": self.task,
            "queue": self.queue,
            "ready": str(to_ms(self.ready or self.nominal)),
            "lane": self.lane,
            "overlap": self.overlap,
            "deadline_ms": str(round(self.deadline.total_seconds() * 1000)),
            "payload": json.dumps(self.payload),
            "tenant": self.tenant,
            "agent": self.agent,
            "cause": self.cause,
        }


@dataclass(frozen=True)
class StoryLine:
    """One thing that happened to a run."""

    at: datetime
    what: str
    detail: str


@dataclass(frozen=True)
class RunRow:
    """One run as the ledger has it."""

    id: RunId
    source: str
    nominal: datetime
    task: str
    queue: str
    state: State
    reason: str
    ready: datetime
    created: datetime
    lane: str
    deadline: timedelta
    payload: Mapping[str, Any]
    tenant: str
    agent: str
    attempts: int
    retries: int
    token: int
    cost: int
    started: datetime | None
    ended: datetime | None
    lease: datetime | None
    worker: str
    message: str
    checkpoint: Any
    result: Any
    story: tuple[StoryLine, ...]
    raw: Mapping[str, str]

    @classmethod
    def from_hash(cls, row: Mapping[str, str]) -> RunRow:
        def instant(name: str) -> datetime | None:
            return from_ms(row[name]) if row.get(name) else None

        costs = sum(int(value) for name, value in row.items() if name.startswith("cost:"))
        return cls(
            id=RunId(row["id"]),
            source=row["source"],
            nominal=from_ms(row["nominal"]),
            task=row["task"],
            queue=row["queue"],
            state=State(row["state"]),
            reason=row["reason"],
            ready=from_ms(row["ready"]),
            created=from_ms(row["created"]),
            lane=row["lane"],
            deadline=timedelta(milliseconds=int(row["deadline_ms"])),
            payload=json.loads(row["payload"]),
            tenant=row["tenant"],
            agent=row["agent"],
            attempts=int(row["attempts"]),
            retries=int(row["retries"]),
            token=int(row["token"]),
            cost=costs,
            started=instant("started"),
            ended=instant("ended"),
            lease=instant("lease"),
            worker=row.get("worker", ""),
            message=row.get("message", ""),
            checkpoint=json.loads(row["checkpoint"]) if row.get("checkpoint") else None,
            result=json.loads(row["result"]) if row.get("result") else None,
            story=tuple(_story_lines(row.get("story", ""))),
            raw=row,
        )


def _story_lines(story: str) -> list[StoryLine]:
    lines = []
    for line in story.split("\n")[:-1]:
        at, what, *detail = line.split(" ", 2)
        lines.append(StoryLine(from_ms(at), what, detail[0] if detail else ""))
    return lines
