"""The agents that this deployment works for: who they are, and how they are woken."""

from __future__ import annotations

from nightshift.agents.agent import Agent, known, of, of_platform

__all__ = ["Agent", "known", "of", "of_platform"]
