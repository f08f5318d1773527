"""The parts of agents' work in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.agents.wiring import AgentParts
from nightshift.deliveries.deliveries import Deliveries
from nightshift.llm.wiring import LlmParts
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger
from nightshift.work.pull import PullWork
from nightshift.work.writing import Writing


class WorkParts:
    """Those who carry out what an agent is asked for: its own bot, or a model."""

    def __init__(
        self, *, ledger: Ledger, agents: AgentParts, llm: LlmParts, messages: Messages, deliveries: Deliveries
    ) -> None:
        self._ledger = ledger
        self._agents = agents
        self._llm = llm
        self._messages = messages
        self._deliveries = deliveries

    @cached_property
    def pull(self) -> PullWork:
        return PullWork(self._ledger, self._deliveries)

    @cached_property
    def writing(self) -> Writing:
        """What writes for agents that a model speaks for."""
        return Writing(self._llm.models, self._messages, self._deliveries, self._agents.of)
