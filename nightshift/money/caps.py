"""What may be spent: caps as the settings give them, changed live in the store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting, OutOfBudget
from nightshift.base.words import MILLION, money
from nightshift.money.payer import Level
from nightshift.money.settings import BudgetSettings
from nightshift.runs.spread import spread_waiting
from nightshift.store.client import text_hash
from nightshift.store.events import publish_event
from nightshift.store.keys import Keys

#: More than anybody has, and little enough for a script to count exactly.
LARGEST = 1_000_000_000 * MILLION
#: How the store says that a cap of the settings is lifted.
LIFTED = "none"


@dataclass(frozen=True)
class Cap:
    """A limit on one name of a level, or on each of its names where ``name`` is empty."""

    level: Level
    name: str
    #: In micro-USD; none if the cap that the settings give is lifted.
    micro_usd: int | None
    #: Changed while everything runs, rather than given by the settings.
    live: bool

    @property
    def whose(self) -> str:
        """Say whom it limits."""
        if self.level is Level.DAY:
            return "everything"
        return f"{self.level} {self.name}" if self.name else f"each {self.level}"


class Caps:
    """The caps as they apply: what the store says before the settings, a name of its own before each."""

    def __init__(self, redis: Redis, keys: Keys, settings: BudgetSettings) -> None:
        self._redis = redis
        self._keys = keys
        self._given = _given(settings)

    def given(self, level: Level, name: str) -> dict[str, int]:
        """What the settings say of this name: a cap of its ``own``, and one for ``each``."""
        found = {
            "own": self._given.get((level, name)) if name else None,
            "each": self._given.get((level, "")),
        }
        return {which: cap for which, cap in found.items() if cap is not None}

    async def read(self) -> Mapping[tuple[Level, str], Cap]:
        """Every cap there is."""
        caps = {at: Cap(*at, micro_usd, live=False) for at, micro_usd in self._given.items()}
        for field, value in (await text_hash(self._redis, self._keys.caps)).items():
            level, _, name = field.partition(" ")
            at = Level(level), name
            caps[at] = Cap(*at, None if value == LIFTED else int(value), live=True)
        return caps

    async def set(self, level: Level, name: str, micro_usd: int | None, *, by: str) -> None:
        """Cap this name, or each of the level's without one; nothing lifts the cap."""
        if micro_usd is not None and not 0 <= micro_usd <= LARGEST:
            raise BadSetting(f"{money(micro_usd)} is no cap; it is $0 to {money(LARGEST)}")
        if level is Level.DAY and name:
            raise BadSetting(f"the cap on the day is one for all, so it takes no name, such as {name!r}")
        value = LIFTED if micro_usd is None else str(micro_usd)
        await self._redis.hset(self._keys.caps, f"{level} {name}", value)
        await self._changed(level, name, value, by)

    async def unset(self, level: Level, name: str, *, by: str) -> None:
        """Let what the settings say apply again."""
        await self._redis.hdel(self._keys.caps, f"{level} {name}")
        await self._changed(level, name, "as the settings say", by)

    async def _changed(self, level: Level, name: str, cap: str, by: str) -> None:
        # Whoever waits for room may have it now.
        await spread_waiting(self._redis, self._keys, OutOfBudget)
        facts = {"level": level, "name": name, "cap": cap, "by": by}
        await publish_event(self._redis, self._keys, "cap_changed", f"budget:{level}", facts=facts)


def listed(caps: Mapping[tuple[Level, str], Cap]) -> list[Cap]:
    """The caps as people read them, level by level."""
    return sorted(caps.values(), key=lambda cap: (list(Level).index(cap.level), cap.name))


def cap_of(caps: Mapping[tuple[Level, str], Cap], level: Level, name: str) -> int | None:
    """The cap that applies to this name, in micro-USD."""
    cap = caps.get((level, name)) or caps.get((level, ""))
    return cap.micro_usd if cap else None


def micro_usd(dollars: Decimal) -> int:
    """Dollars in micro-USD, as money is counted here."""
    return round(dollars * MILLION)


def parse_cap(text: str) -> int | None:
    """Read dollars as a person writes them, in micro-USD; ``none`` is no cap."""
    if text == LIFTED:
        return None
    found = re.fullmatch(r"\$?([0-9]{1,12}(?:\.[0-9]{1,6})?)", text)
    if not found:
        raise BadSetting(f"{text!r} is no sum in dollars; write 5, 0.25 or {LIFTED}")
    return micro_usd(Decimal(found[1]))


def _given(settings: BudgetSettings) -> dict[tuple[Level, str], int]:
    each = {(level, ""): getattr(settings, level) for level in Level}
    own = {(level, name): cap for level, caps in settings.only.items() for name, cap in caps.items()}
    return {at: micro_usd(cap) for at, cap in (each | own).items() if cap is not None}
