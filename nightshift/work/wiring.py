"""The parts of agents' work in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.agents.wiring import AgentParts
from nightshift.deliveries.deliveries import Deliveries
from nightshift.llm.wiring import LlmParts
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger
from nightshift.work.pull import PullWork
from nightshift.work.writing import Writing


@dataclass(eq=False)
class WorkParts:
    """Those who carry out what an agent is asked for: its own bot, or a model."""

    ledger: Ledger
    agents: AgentParts
    llm: LlmParts
    messages: Messages
    deliveries: Deliveries

    @cached_property
    def pull(self) -> PullWork:
        return PullWork(self.ledger, self.deliveries)

    @cached_property
    def writing(self) -> Writing:
        """What writes for agents that a model speaks for."""
        return Writing(self.llm.models, self.messages, self.deliveries, self.agents.of)
