"""What may be flipped while everything runs: read again before each decision, never cached."""

from __future__ import annotations

from collections.abc import Mapping

from redis.asyncio import Redis

from nightshift.errors import BadSetting
from nightshift.keys import Keys
from nightshift.settings import Settings
from nightshift.store import text_hash

#: Switches that exist, and what they let through.
KNOWN = {
    "chat_llm_enabled": "work that asks a model",
    "model_probe": "the periodic question whether the model answers",
}
PAUSED = "paused:"


class Switches:
    """The switches as they stand in the store; the settings give each its first value."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings) -> None:
        self._redis = redis
        self._key = keys.switches
        self._settings = settings

    async def read(self) -> SwitchBoard:
        stored = await text_hash(self._redis, self._key)
        on = {name: bool(getattr(self._settings, name)) for name in KNOWN}
        on.update({name: stored[name] == "on" for name in KNOWN if name in stored})
        paused = {name.removeprefix(PAUSED): by for name, by in stored.items() if name.startswith(PAUSED)}
        return SwitchBoard(on, paused)

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

    def __init__(self, on: Mapping[str, bool], paused: Mapping[str, str]) -> None:
        self.on = on
        self.paused = paused

    def is_on(self, name: str) -> bool:
        return self.on[name]
