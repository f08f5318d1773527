"""The parts of money in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.money.settings import MoneySection
from nightshift.store.ground import Ground


@dataclass(eq=False)
class MoneyParts:
    """Caps and purse; one purse, so that what it could not settle is settled with the next call."""

    ground: Ground
    settings: MoneySection

    @cached_property
    def caps(self) -> Caps:
        return Caps(self.ground.redis, self.ground.keys, self.settings.budget)

    @cached_property
    def purse(self) -> Purse:
        return Purse(self.ground.redis, self.ground.keys, self.caps, clock=self.ground.clock)
