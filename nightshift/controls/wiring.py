"""The parts of controls in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.controls.freeze import Freeze
from nightshift.controls.settings import ControlsSection
from nightshift.controls.switches import Switches
from nightshift.store.ground import Ground


class ControlParts:
    """Switches and freeze; one freeze, so that all calls of a loop are watched by one poll."""

    def __init__(self, ground: Ground, settings: ControlsSection) -> None:
        self._ground = ground
        self._settings = settings

    @cached_property
    def switches(self) -> Switches:
        return Switches(self._ground.redis, self._ground.keys, self._settings)

    @cached_property
    def freeze(self) -> Freeze:
        made = Freeze(self._ground.redis, self._ground.keys)
        self._ground.closing.push_async_callback(made.close)
        return made
