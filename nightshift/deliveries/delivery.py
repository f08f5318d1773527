"""A delivery and a request for one, as they stand in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from nightshift.base.errors import BadQuery
from nightshift.base.instants import from_ms
from nightshift.base.limits import LONGEST_DELIVERY
from nightshift.base.refs import ChannelRef
from nightshift.runs.row import RunId, RunRequest

By = Literal["us", "bot"]
TASK = "tasks.deliveries.send"


class DeliveryState(StrEnum):
    """What became of a delivery."""

    REQUESTED = "requested"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"

    @property
    def ended(self) -> bool:
        return self is not DeliveryState.REQUESTED


@dataclass(frozen=True)
class NewDelivery:
    """What a run wants said."""

    run: str
    channel: ChannelRef
    text: str
    #: Which of the run's deliveries; a run that says several things counts them.
    number: int = 0
    #: The message that this answers, if any.
    reply_to: str = ""
    #: Who speaks: we, through an adapter of ours, or the agent's own bot.
    by: By = "us"
    tenant: str = "default"
    agent: str = ""
    #: Who may ever read it; the channel alone, unless said otherwise.
    audience: str = ""
    #: What made somebody speak: heartbeat, memory, event, schedule or person.
    kind: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise BadQuery(f"run {self.run!r} wants nothing said: a delivery's text may not be empty")
        if len(self.text) > LONGEST_DELIVERY:
            raise BadQuery(
                f"run {self.run!r} wants {len(self.text)} characters said; "
                f"a delivery has {LONGEST_DELIVERY} at most"
            )

    @property
    def id(self) -> str:
        """A run that asks again, after a crash, asks for the same delivery."""
        return f"{self.run}/{self.number}"


def key_of(id: str, times: int) -> str:
    """What a platform knows one send by, so that the same is made once; the next time is another."""
    return hashlib.sha256(f"{id}#{times}".encode()).hexdigest()[:32]


def sending_run(id: str, times: int, channel: str, *, tenant: str, agent: str) -> dict[str, str]:
    """The run that makes this send; the script that records it says when."""
    request = RunRequest(
        id=RunId(f"delivery:{id}@{times}"),
        # By channel, so that what is counted by source stays countable.
        source=f"delivery:{channel}",
        nominal=from_ms(0),
        task=TASK,
        queue="io",
        payload={"delivery": id},
        tenant=tenant,
        agent=agent,
        cause=f"to deliver {id}",
    )
    return request.as_script_argument()


@dataclass(frozen=True)
class Delivery:
    """One delivery as the store has it."""

    id: str
    run: str
    channel: ChannelRef
    text: str
    reply_to: str
    key: str
    state: DeliveryState
    reason: str
    message_id: str
    by: By
    tenant: str
    agent: str
    audience: str
    kind: str
    #: How often it has been sent knowingly: once, and once more each time somebody resolved it so.
    times: int
    #: How often its bot has taken it.
    offers: int
    #: The run that sends it, if we do.
    sending_run: str
    #: The attempt of ours that began to send it, and of which nobody has said how it came out.
    claimed: str
    created: datetime
    changed: datetime
    sent: datetime | None

    @property
    def maybe_sent(self) -> bool:
        """Whether its bot took it before, and nobody said what became of it."""
        return self.offers > 1

    @classmethod
    def from_hash(cls, row: Mapping[str, str]) -> Self:
        return cls(
            id=row["id"],
            run=row["run"],
            channel=ChannelRef.parse(row["channel"]),
            text=row["text"],
            reply_to=row["reply_to"],
            key=row["key"],
            state=DeliveryState(row["state"]),
            reason=row["reason"],
            message_id=row.get("message_id", ""),
            by="bot" if row["by"] == "bot" else "us",
            tenant=row["tenant"],
            agent=row["agent"],
            audience=row["audience"],
            kind=row["kind"],
            times=int(row["times"]),
            offers=int(row.get("offers", 0)),
            sending_run=row["sending_run"],
            claimed=row["claimed"],
            created=from_ms(row["created"]),
            changed=from_ms(row["changed"]),
            sent=from_ms(row["sent"]) if row.get("sent") else None,
        )
