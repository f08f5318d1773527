"""The parts of agents in one deployment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from nightshift.agents import agent
from nightshift.agents.agent import Agent
from nightshift.agents.liveness import AgentLiveness
from nightshift.agents.settings import AgentsSection
from nightshift.store.ground import Ground


class AgentParts:
    """The agents of the settings, and whether their bots are there."""

    def __init__(self, ground: Ground, settings: AgentsSection) -> None:
        self._ground = ground
        self._settings = settings

    def of(self, name: str, tenant: str | None = None) -> Agent:
        """The agent of this name, and of this tenant if one is named."""
        return agent.of(self._settings, name, tenant)

    def known(self) -> Sequence[Agent]:
        """Every agent, by name."""
        return agent.known(self._settings)

    @cached_property
    def liveness(self) -> AgentLiveness:
        return AgentLiveness(self._ground.redis, self._ground.keys, clock=self._ground.clock)
