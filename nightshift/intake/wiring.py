"""The parts of intake in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.agents.wiring import AgentParts
from nightshift.heartbeats.wiring import HeartbeatParts
from nightshift.intake.backfill import Backfill
from nightshift.intake.connections import Connections
from nightshift.intake.observing import Observer
from nightshift.intake.rooms import Rooms
from nightshift.memory.wiring import MemoryParts
from nightshift.platforms.local import LocalPlatform
from nightshift.platforms.settings import PlatformsSection
from nightshift.platforms.wiring import LOCAL, PlatformParts
from nightshift.store.ground import Ground


@dataclass(eq=False)
class IntakeParts:
    """What takes in what is said: by bots, in rooms of our own, before we listened."""

    ground: Ground
    settings: PlatformsSection
    agents: AgentParts
    platforms: PlatformParts
    memory: MemoryParts
    heartbeats: HeartbeatParts

    @cached_property
    def observer(self) -> Observer:
        messages, queue = self.memory.messages, self.memory.embedding_queue
        redis, keys = self.ground.redis, self.ground.keys
        return Observer(redis, keys, messages, self.heartbeats.visits, self.settings, queue)

    @cached_property
    def connections(self) -> Connections:
        return Connections(self.ground.redis, self.ground.keys)

    @cached_property
    def rooms(self) -> Rooms:
        """Rooms of our own, as people use them."""
        platform = self.platforms.by_name[LOCAL]
        assert isinstance(platform, LocalPlatform)  # noqa: S101  no settings make it another kind
        return Rooms(platform, self.observer, self.settings)

    @cached_property
    def backfill(self) -> Backfill:
        """What reads the past of channels."""
        return Backfill(
            self.platforms.by_name,
            self.platforms.owner_of,
            self.agents.liveness.bots,
            self.connections,
            self.memory.messages,
            self.memory.embedding_queue,
            self.memory.embedding_model_of,
        )
