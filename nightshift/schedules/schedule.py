"""One schedule, and where it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import DEADLINE
from nightshift.runs.states import Overlap
from nightshift.time.cadence import Cadence, cadence_from
from nightshift.time.misfire import Misfire


@dataclass(frozen=True)
class Schedule:
    """A cadence, and the run each of its slots becomes."""

    id: str
    cadence: Cadence
    task: str
    queue: str
    late: Misfire = Misfire.RUN_LATEST
    overlap: Overlap = Overlap.SKIP
    deadline: timedelta = DEADLINE
    payload: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    agent: str = ""

    def to_row(self) -> dict[Any, Any]:
        return {
            "id": self.id,
            "cadence": json.dumps(self.cadence.to_spec()),
            "task": self.task,
            "queue": self.queue,
            "late": self.late,
            "overlap": self.overlap,
            "deadline_s": str(self.deadline.total_seconds()),
            "payload": json.dumps(self.payload),
            "tenant": self.tenant,
            "agent": self.agent,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> Schedule:
        return cls(
            id=row["id"],
            cadence=cadence_from(json.loads(row["cadence"])),
            task=row["task"],
            queue=row["queue"],
            late=Misfire(row["late"]),
            overlap=Overlap(row["overlap"]),
            deadline=timedelta(seconds=float(row["deadline_s"])),
            payload=json.loads(row["payload"]),
            tenant=row["tenant"],
            agent=row["agent"],
        )


async def put_schedules(ledger: Ledger, schedules: Iterable[Schedule], *, now: datetime) -> None:
    """Store the schedules; each comes due at its first slot after ``now``."""
    pipeline = ledger.redis.pipeline(transaction=False)
    for schedule in schedules:
        pipeline.hset(ledger.keys.schedule(schedule.id), mapping=schedule.to_row())
        pipeline.zadd(ledger.keys.due, {schedule.id: to_ms(schedule.cadence.slot_after(now))})
    # The pulse may be asleep past the first of them.
    pipeline.publish(ledger.keys.poke, "schedules")
    await pipeline.execute()


async def remove_schedule(ledger: Ledger, schedule_id: str) -> None:
    """Forget the schedule; runs it made stay."""
    pipeline = ledger.redis.pipeline(transaction=True)
    pipeline.zrem(ledger.keys.due, schedule_id)
    pipeline.delete(ledger.keys.schedule(schedule_id))
    await pipeline.execute()
