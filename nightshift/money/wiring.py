"""The parts of money in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.money.settings import MoneySection
from nightshift.store.ground import Ground


class MoneyParts:
    """Caps and purse; one purse, so that what it could not settle is settled with the next call."""

    def __init__(self, ground: Ground, settings: MoneySection) -> None:
        self._ground = ground
        self._settings = settings

    @cached_property
    def caps(self) -> Caps:
        return Caps(self._ground.redis, self._ground.keys, self._settings.budget)

    @cached_property
    def purse(self) -> Purse:
        return Purse(self._ground.redis, self._ground.keys, self.caps, clock=self._ground.clock)
