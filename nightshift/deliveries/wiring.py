"""The parts of deliveries in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.echo import recording_in
from nightshift.deliveries.forgetting import DeliveryForgetter
from nightshift.deliveries.sending import Sender
from nightshift.memory.messages import Messages
from nightshift.platforms.wiring import PlatformParts
from nightshift.store.ground import Ground


class DeliveryParts:
    """What is said, and what brings it to its platform."""

    def __init__(
        self,
        ground: Ground,
        *,
        switches: Switches,
        freeze: Freeze,
        messages: Messages,
        platforms: PlatformParts,
    ) -> None:
        self._ground = ground
        self._switches = switches
        self._freeze = freeze
        self._messages = messages
        self._platforms = platforms

    @cached_property
    def store(self) -> Deliveries:
        return Deliveries(self._ground.redis, self._ground.keys, self._switches, clock=self._ground.clock)

    @cached_property
    def sender(self) -> Sender:
        platforms = self._platforms
        return Sender(
            self.store, platforms.by_name, platforms.owner_of, self._freeze, recording_in(self._messages)
        )

    @property
    def forgetter(self) -> DeliveryForgetter:
        return DeliveryForgetter(self.store)
