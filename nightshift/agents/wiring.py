"""The parts of agents in one deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from nightshift.agents import agent
from nightshift.agents.agent import Agent
from nightshift.agents.liveness import AgentLiveness
from nightshift.agents.settings import AgentsSection
from nightshift.store.ground import Ground


@dataclass(eq=False)
class AgentParts:
    """The agents of the settings, and whether their bots are there."""

    ground: Ground
    settings: AgentsSection

    def of(self, name: str, tenant: str | None = None) -> Agent:
        """The agent of this name, and of this tenant if one is named."""
        return agent.of(self.settings, name, tenant)

    def known(self) -> Sequence[Agent]:
        """Every agent, by name."""
        return agent.known(self.settings)

    @cached_property
    def liveness(self) -> AgentLiveness:
        return AgentLiveness(self.ground.redis, self.ground.keys, clock=self.ground.clock)
