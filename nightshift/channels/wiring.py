"""The parts of channels in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.channels.channels import Channels
from nightshift.store.ground import Ground


@dataclass(eq=False)
class ChannelParts:
    """What is known of channels."""

    ground: Ground

    @cached_property
    def store(self) -> Channels:
        return Channels(self.ground.redis, self.ground.keys, clock=self.ground.clock)
