"""What an agent is asked to do, as it stands in the payload of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.delivery import NewDelivery
from nightshift.money.payer import Occasion
from nightshift.runs.row import RunRow


@dataclass(frozen=True)
class Assignment:
    """Why an agent is woken, what it is to do, and where it may say something about it."""

    channel: ChannelRef
    #: In a word: ``heartbeat``.
    cause: str
    instruction: str
    kind: Occasion

    def to_payload(self) -> Mapping[str, Any]:
        return {
            "channel": str(self.channel),
            "cause": self.cause,
            "instruction": self.instruction,
            "kind": self.kind,
        }

    @classmethod
    def of(cls, row: RunRow) -> Self:
        payload = row.payload
        return cls(
            ChannelRef.parse(payload["channel"]),
            payload["cause"],
            payload["instruction"],
            Occasion(payload["kind"]),
        )


def answer(row: RunRow, agent: Agent, text: str) -> NewDelivery:
    """What the agent says to it: in the channel it was woken for, and nowhere else."""
    assignment = Assignment.of(row)
    return NewDelivery(
        run=row.id,
        channel=assignment.channel,
        text=text,
        by=agent.delivers,
        tenant=agent.tenant,
        agent=agent.name,
        kind=assignment.kind,
    )
