"""The parts of controls in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.controls.freeze import Freeze
from nightshift.controls.settings import ControlsSection
from nightshift.controls.switches import Switches
from nightshift.store.ground import Ground


@dataclass(eq=False)
class ControlParts:
    """Switches and freeze; one freeze, so that all calls of a loop are watched by one poll."""

    ground: Ground
    settings: ControlsSection

    @cached_property
    def switches(self) -> Switches:
        return Switches(self.ground.redis, self.ground.keys, self.settings)

    @cached_property
    def freeze(self) -> Freeze:
        made = Freeze(self.ground.redis, self.ground.keys)
        self.ground.closing.push_async_callback(made.close)
        return made
