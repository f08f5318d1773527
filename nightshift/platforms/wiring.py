"""The parts of platforms in one deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from nightshift.agents.agent import Agent
from nightshift.platforms.forgetting import RoomForgetter
from nightshift.platforms.known import new_platform
from nightshift.platforms.owner import owner_of
from nightshift.platforms.platform import Platform
from nightshift.platforms.settings import PlatformsSection
from nightshift.store.ground import Ground

#: What rooms of our own are called among platforms.
LOCAL = "local"


@dataclass(eq=False)
class PlatformParts:
    """The platforms of the settings, and rooms of our own."""

    ground: Ground
    settings: PlatformsSection

    @cached_property
    def by_name(self) -> Mapping[str, Platform]:
        described = self.settings.all_platforms
        made = {
            name: new_platform(name, each, self.ground.redis, self.ground.keys)
            for name, each in described.items()
        }
        for platform in made.values():
            self.ground.closing.push_async_callback(platform.close)
        return made

    @cached_property
    def owner_of(self) -> partial[Agent]:
        """Says whose the channels of a platform are."""
        return partial(owner_of, self.settings)

    @property
    def forgetter(self) -> RoomForgetter:
        return RoomForgetter(self.by_name.values())
