"""An agent, as ``[agents.NAME]`` in nightshift.toml describes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from typing import Literal

from nightshift.agents.settings import DEFAULT_AGENT, AgentSettings, AgentsSection
from nightshift.base.errors import UnknownAgent

#: Who writes what an agent says: its own bot, which asks us for work, or a model that we ask.
Runner = Literal["pull", "model"]
#: Who brings it to the platform: our adapter, or the bot with its own voice and token.
Delivers = Literal["us", "bot"]


@dataclass(frozen=True)
class Agent:
    """Whose work it is, and how it is done."""

    name: str
    tenant: str
    zone: str
    runner: Runner
    about: str
    delivers: Delivers
    quiet_from: time
    quiet_until: time

    @property
    def lane(self) -> str:
        """An agent does one thing at a time."""
        return f"agent:{self.tenant}:{self.name}"


def of(settings: AgentsSection, name: str, tenant: str | None = None) -> Agent:
    """The agent of this name, and of this tenant if one is named; no name means who is always there."""
    name = name or DEFAULT_AGENT
    described = settings.agents.get(name) or (AgentSettings() if name == DEFAULT_AGENT else None)
    if described is None:
        raise UnknownAgent(
            f"no agent is called {name!r}; there are {', '.join(_names(settings))}, "
            f"and [agents.{name}] in nightshift.toml would make one"
        )
    if tenant not in (None, described.tenant):
        raise UnknownAgent(
            f"agent {name!r} is of tenant {described.tenant!r}, and not {tenant!r}; give its channels to "
            f"another agent of {tenant!r}, or set the tenant of [agents.{name}] back"
        )
    return Agent(name=name, **described.model_dump())


def known(settings: AgentsSection) -> Sequence[Agent]:
    """Every agent, by name."""
    return [of(settings, name) for name in _names(settings)]


def _names(settings: AgentsSection) -> Sequence[str]:
    return sorted({*settings.agents, DEFAULT_AGENT})
