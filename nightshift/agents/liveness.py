"""Whether an agent's bot is there: its last sign of life on each platform, by process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.channels.ref import ChannelRef
from nightshift.keys import Keys
from nightshift.runs.row import from_ms, to_ms
from nightshift.store import store_now, text_hash

#: Who has said nothing for this long is gone; a bot says it three times as often.
GONE_AFTER = timedelta(seconds=90)
#: Processes of one agent on one platform, such as the shards of a large bot.
MOST_PROCESSES = 64


@dataclass(frozen=True)
class Presence:
    """One process of a bot, connected to one platform."""

    platform: str
    #: Tells apart the processes of one bot.
    process: str
    #: The bot's own, as its messages bear it.
    user_id: str
    connected_since: datetime
    #: The channels that this process serves; all of the platform if none is named.
    channels: frozenset[str] = frozenset()

    def serves(self, ref: ChannelRef) -> bool:
        return self.platform == ref.platform and (not self.channels or ref.id in self.channels)


class AgentLiveness:
    """The signs of life as they stand in the store; each counts for a while and is then as if never given."""

    def __init__(self, redis: Redis, keys: Keys, *, clock: Callable[[], datetime] | None = None) -> None:
        """``clock`` replaces the server's time in tests."""
        self._redis = redis
        self._keys = keys
        self._clock = clock

    async def report(self, agent: Agent, presence: Presence) -> None:
        """Say that this process of the agent's bot is there."""
        key, now = self._keys.alive(agent.tenant, agent.name), await self._now()
        stored = await text_hash(self._redis, key)
        gone = [name for name, row in stored.items() if from_ms(json.loads(row)["until"]) <= now]
        if len(stored) - len(gone) >= MOST_PROCESSES:
            gone.append(min(stored, key=lambda name: float(json.loads(stored[name])["until"])))
        row = {
            "until": to_ms(now + GONE_AFTER),
            "user_id": presence.user_id,
            "since": to_ms(presence.connected_since),
            "channels": sorted(presence.channels),
        }
        pipeline = self._redis.pipeline(transaction=False)
        if gone:
            pipeline.hdel(key, *gone)
        pipeline.hset(key, f"{presence.platform} {presence.process}", json.dumps(row))
        pipeline.expire(key, GONE_AFTER)
        await pipeline.execute()

    async def is_alive(self, agent: Agent, ref: ChannelRef) -> bool:
        """Whether some process of the agent's bot serves this channel now."""
        return any([presence.serves(ref) async for presence in self.present(agent)])

    async def user_ids(self, agent: Agent, platform: str) -> frozenset[str]:
        """What the bot itself is called there, so that its own messages are not taken for a person's."""
        return frozenset({each.user_id async for each in self.present(agent) if each.platform == platform})

    def present(self, agent: Agent) -> AsyncIterator[Presence]:
        """Every process of the agent's bot that has given a sign of life of late."""
        return self.present_of(agent.tenant, agent.name)

    async def present_of(self, tenant: str, agent: str) -> AsyncIterator[Presence]:
        """The same for an agent that the settings may no longer describe."""
        stored = await text_hash(self._redis, self._keys.alive(tenant, agent))
        now = await self._now() if stored else None
        for name, text in stored.items():
            row: Any = json.loads(text)
            if now and from_ms(row["until"]) > now:
                platform, _, process = name.partition(" ")
                yield Presence(
                    platform, process, row["user_id"], from_ms(row["since"]), frozenset(row["channels"])
                )

    async def _now(self) -> datetime:
        return self._clock() if self._clock else await store_now(self._redis)
