"""Whose the channels of a platform are."""

from __future__ import annotations

from nightshift import agents
from nightshift.agents.agent import Agent
from nightshift.platforms.settings import PlatformsSection


def owner_of(settings: PlatformsSection, platform: str) -> Agent:
    """The agent whose channels this platform tells of: one of the settings, or our own rooms."""
    return agents.of(settings, settings.all_platforms[platform].agent)
