"""The agents that this deployment works for: who they are, and whether their bots are there."""

from __future__ import annotations

from nightshift.agents.agent import Agent, known, of

__all__ = ["Agent", "known", "of"]
