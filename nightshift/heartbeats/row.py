"""How the visits of one channel stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from nightshift.base.instants import from_ms, to_ms
from nightshift.base.refs import ChannelRef

#: Before the channel in the name of what its visits are runs of.
SOURCE = "heartbeat:"
#: The starts that are remembered; as many as a flood may be allowed.
STARTS = 20


def source_of(ref: ChannelRef) -> str:
    """What the ledger calls the heartbeat of this channel."""
    return f"{SOURCE}{ref}"


@dataclass(frozen=True)
class Act:
    """Something that a visit found worth saying."""

    at: datetime
    run: str
    #: What it was about, in a form that finds it again.
    marks: tuple[str, ...]
    topic: str


@dataclass(frozen=True)
class VisitRow:
    """One channel's; instants that have not been are nothing."""

    generation: int
    next_at: datetime | None
    interval: timedelta
    adopted_at: datetime
    #: Visits in a row that found nothing changed.
    unchanged: int
    #: Looks in a row that failed, and how many of them by the channel's doing.
    failures: int
    own_failures: int
    #: How often in a row it was put off for a moment, and why last.
    deferred: int
    deferred_for: str
    #: The digest of the channel, and the instant, when a model last looked.
    digest: str
    thought_at: datetime | None
    #: The most that a look costs, in micro-USD, if there was no room for the last.
    needs: int
    suspended_at: datetime | None
    starts: tuple[datetime, ...]
    acts: tuple[Act, ...]

    @classmethod
    def from_hash(cls, row: Mapping[str, str]) -> Self | None:
        if "adopted_at" not in row:
            return None

        def instant(name: str) -> datetime | None:
            return from_ms(row[name]) if row.get(name) else None

        return cls(
            generation=int(row["generation"]),
            next_at=instant("next_at"),
            interval=timedelta(milliseconds=int(row["interval_ms"])),
            adopted_at=from_ms(row["adopted_at"]),
            unchanged=int(row.get("unchanged", 0)),
            failures=int(row.get("failures", 0)),
            own_failures=int(row.get("own_failures", 0)),
            deferred=int(row.get("deferred", 0)),
            deferred_for=row.get("deferred_for", ""),
            digest=row.get("digest", ""),
            thought_at=instant("thought_at"),
            needs=int(row.get("needs", 0)),
            suspended_at=instant("suspended_at"),
            starts=tuple(from_ms(each) for each in row.get("starts", "").split()),
            acts=tuple(
                Act(from_ms(each["at"]), each["run"], tuple(each["marks"]), each["topic"])
                for each in json.loads(row.get("acts") or "[]")
            ),
        )

    def acts_between(self, start: datetime, end: datetime) -> int:
        """How often a visit spoke up."""
        return sum(start < act.at <= end for act in self.acts)

    def with_start(self, at: datetime) -> str:
        """The starts that are remembered once there is one more, as the row keeps them."""
        return " ".join(str(to_ms(each)) for each in (*self.starts, at)[-STARTS:])
