"""The parts of channels in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.channels.channels import Channels
from nightshift.store.ground import Ground


class ChannelParts:
    """What is known of channels."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @cached_property
    def store(self) -> Channels:
        return Channels(self._ground.redis, self._ground.keys, clock=self._ground.clock)
