"""The rules as they apply: what the store says before what the settings say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from nightshift.heartbeats.rules import HeartbeatRules, changed
from nightshift.store.client import text_hash
from nightshift.store.keys import Keys


class RuleBook:
    """The rules as they stand in the store: read again for each pass, never cached."""

    def __init__(self, redis: Redis, keys: Keys, given: HeartbeatRules) -> None:
        """``given`` are the settings' own."""
        self._redis = redis
        self._key = keys.heartbeat_rules
        self._given = given

    async def read(self) -> HeartbeatRules:
        return self.from_stored(await text_hash(self._redis, self._key))

    def from_stored(self, stored: Mapping[str, str]) -> HeartbeatRules:
        if not stored:
            return self._given
        return changed(self._given, {name: json.loads(value) for name, value in stored.items()})

    async def set(self, changes: Mapping[str, Any]) -> HeartbeatRules:
        """Change rules while everything runs; the next pass heeds them."""
        rules = changed(await self.read(), changes)
        told = rules.model_dump(mode="json")
        await self._redis.hset(self._key, mapping={name: json.dumps(told[name]) for name in changes})
        return rules

    async def unset(self, name: str) -> None:
        """Let what the settings say apply again."""
        await self._redis.hdel(self._key, name)
