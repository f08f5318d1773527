"""The parts of deliveries in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(eq=False)
class DeliveryParts:
    """What is said, and what brings it to its platform."""

    ground: Ground
    switches: Switches
    freeze: Freeze
    messages: Messages
    platforms: PlatformParts

    @cached_property
    def store(self) -> Deliveries:
        return Deliveries(self.ground.redis, self.ground.keys, self.switches, clock=self.ground.clock)

    @cached_property
    def sender(self) -> Sender:
        platforms = self.platforms
        return Sender(
            self.store, platforms.by_name, platforms.owner_of, self.freeze, recording_in(self.messages)
        )

    @property
    def forgetter(self) -> DeliveryForgetter:
        return DeliveryForgetter(self.store)
