"""What may be flipped while everything runs: read again before each decision, never cached."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.controls.freeze import FROZEN, Freezing
from nightshift.controls.settings import ControlsSection
from nightshift.store.client import text_hash
from nightshift.store.keys import Keys

#: Switches that exist, and what each does while it is on.
KNOWN = {name: field.description or "" for name, field in ControlsSection.model_fields.items()}
PAUSED = "paused:"

#: While this one is on, deliveries are written down and kept back; it is the reason that they then give.
SHADOW = "shadow"
#: The one that lets models be asked meanwhile.
SHADOW_CALLS = "shadow_calls"


class Switches:
    """The switches as they stand in the store; the settings give each its first value."""

    def __init__(self, redis: Redis, keys: Keys, settings: ControlsSection) -> None:
        self._redis = redis
        self._key = keys.switches
        self._settings = settings

    async def read(self) -> SwitchBoard:
        stored = await text_hash(self._redis, self._key)
        on = {name: bool(getattr(self._settings, name)) for name in KNOWN}
        on.update({name: stored[name] == "on" for name in KNOWN if name in stored})
        paused = {name.removeprefix(PAUSED): by for name, by in stored.items() if name.startswith(PAUSED)}
        frozen = Freezing.from_json(stored[FROZEN]) if FROZEN in stored else None
        return SwitchBoard(on, paused, frozen)

    async def set(self, name: str, on: bool) -> None:
        if name not in KNOWN:
            raise BadSetting(f"switch {name!r} is not known; known ones: {', '.join(sorted(KNOWN))}")
        await self._redis.hset(self._key, name, "on" if on else "off")

    async def pause(self, job: str, *, by: str) -> None:
        """Keep this job from being recorded until it is resumed."""
        await self._redis.hset(self._key, PAUSED + job, by)

    async def resume(self, job: str) -> None:
        await self._redis.hdel(self._key, PAUSED + job)


class SwitchBoard:
    """The switches at one moment."""

    def __init__(
        self, on: Mapping[str, bool], paused: Mapping[str, str], frozen: Freezing | None = None
    ) -> None:
        self.on = on
        self.paused = paused
        self.frozen = frozen

    def is_on(self, name: str) -> bool:
        return self.on[name]

    @property
    def in_shadow(self) -> bool:
        """Whether nothing is said, whatever is decided."""
        return self.is_on(SHADOW)

    @property
    def models_closed(self) -> str:
        """Why work that asks a model waits; empty while it does not."""
        if self.frozen:
            return f"{self.frozen.describe()}; `nightshift thaw` opens it"
        if not self.is_on("chat_llm_enabled"):
            return (
                "the switch chat_llm_enabled is off; `nightshift switches set chat_llm_enabled on` opens it"
            )
        if self.in_shadow and not self.is_on(SHADOW_CALLS):
            name = SHADOW_CALLS
            return f"in shadow, the switch {name} is off; `nightshift switches set {name} on` opens it"
        return ""
