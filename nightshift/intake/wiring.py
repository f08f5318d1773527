"""The parts of intake in one deployment."""

from __future__ import annotations

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


class IntakeParts:
    """What takes in what is said: by bots, in rooms of our own, before we listened."""

    def __init__(
        self,
        ground: Ground,
        settings: PlatformsSection,
        *,
        agents: AgentParts,
        platforms: PlatformParts,
        memory: MemoryParts,
        heartbeats: HeartbeatParts,
    ) -> None:
        self._ground = ground
        self._settings = settings
        self._agents = agents
        self._platforms = platforms
        self._memory = memory
        self._heartbeats = heartbeats

    @cached_property
    def observer(self) -> Observer:
        messages, queue = self._memory.messages, self._memory.embedding_queue
        redis, keys = self._ground.redis, self._ground.keys
        return Observer(redis, keys, messages, self._heartbeats.visits, self._settings, queue)

    @cached_property
    def connections(self) -> Connections:
        return Connections(self._ground.redis, self._ground.keys)

    @cached_property
    def rooms(self) -> Rooms:
        """Rooms of our own, as people use them."""
        platform = self._platforms.by_name[LOCAL]
        assert isinstance(platform, LocalPlatform)  # noqa: S101  no settings make it another kind
        return Rooms(platform, self.observer, self._settings)

    @cached_property
    def backfill(self) -> Backfill:
        """What reads the past of channels."""
        return Backfill(
            self._platforms.by_name,
            self._platforms.owner_of,
            self._agents.liveness.bots,
            self.connections,
            self._memory.messages,
            self._memory.embedding_queue,
            self._memory.embedding_model_of,
        )
