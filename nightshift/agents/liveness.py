"""Whether an agent's bot is there: its last sign of life on each platform, by process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.base.instants import from_ms, to_ms
from nightshift.base.refs import ChannelRef
from nightshift.store.client import store_now, text_field, text_hash
from nightshift.store.keys import Keys

#: Who has said nothing for this long is gone; a bot says it three times as often.
GONE_AFTER = timedelta(seconds=90)
#: And is forgotten after this.
FORGET_AFTER = timedelta(days=1)
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

    def replaces(self, other: Presence) -> bool:
        """Whether it serves all that the other one does."""
        if self.platform != other.platform:
            return False
        return not self.channels or (bool(other.channels) and other.channels <= self.channels)


@dataclass(frozen=True)
class Bot:
    """One process of an agent's bot, as it was last heard of."""

    agent: str
    tenant: str
    platform: str
    process: str
    #: How many channels it serves; none: all of the platform.
    channels: int | None
    connected_since: datetime
    heard: datetime
    alive: bool

    @property
    def serves(self) -> str:
        """What it is there for, in a few words."""
        if self.channels is None:
            return f"all of {self.platform}"
        return f"{self.channels} channel{'' if self.channels == 1 else 's'} of {self.platform}"


class AgentLiveness:
    """The signs of life as they stand in the store: each counts for a while, and is known of for a day."""

    def __init__(self, redis: Redis, keys: Keys, *, clock: Callable[[], datetime] | None = None) -> None:
        """``clock`` replaces the server's time in tests."""
        self._redis = redis
        self._keys = keys
        self._clock = clock

    async def report(self, agent: Agent, presence: Presence) -> None:
        """Say that this process of the agent's bot is there."""
        key, now = self._keys.alive(agent.tenant, agent.name), await self._now()
        stored = await text_hash(self._redis, key)
        others = {name: _read(name, row) for name, row in stored.items()}
        gone = [
            name
            for name, (other, heard) in others.items()
            if _is_forgotten(heard, now) or (_is_gone(heard, now) and presence.replaces(other))
        ]
        if len(stored) - len(gone) >= MOST_PROCESSES:
            gone.append(min(others.keys() - gone, key=lambda name: others[name][1]))
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
        pipeline.expire(key, FORGET_AFTER)
        pipeline.zadd(self._keys.bots, {json.dumps([agent.tenant, agent.name]): to_ms(now)})
        pipeline.zremrangebyscore(self._keys.bots, "-inf", to_ms(now - FORGET_AFTER))
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
        """The processes of the bot of an agent that the settings may no longer describe."""
        stored = await text_hash(self._redis, self._keys.alive(tenant, agent))
        now = await self._now() if stored else None
        for name, row in stored.items():
            presence, heard = _read(name, row)
            if now and not _is_gone(heard, now):
                yield presence

    async def find(self, agent: Agent, platform: str, process: str) -> Presence | None:
        """This process of the agent's bot, if it is there."""
        name = f"{platform} {process}"
        row = await text_field(self._redis, self._keys.alive(agent.tenant, agent.name), name)
        if row is None:
            return None
        presence, heard = _read(name, row)
        return None if _is_gone(heard, await self._now()) else presence

    async def bots(self) -> list[Bot]:
        """Every bot heard of within a day, by agent; one that has gone only while no other replaces it."""
        now = await self._now()
        latest: Any = await self._redis.zrange(
            self._keys.bots, to_ms(now - FORGET_AFTER), "+inf", byscore=True
        )
        whose = sorted(tuple(json.loads(each)) for each in latest)
        pipeline = self._redis.pipeline(transaction=False)
        for tenant, agent in whose:
            pipeline.hgetall(self._keys.alive(tenant, agent))
        found = await pipeline.execute()
        return [
            Bot(
                agent,
                tenant,
                each.platform,
                each.process,
                len(each.channels) or None,
                each.connected_since,
                heard,
                not _is_gone(heard, now),
            )
            for (tenant, agent), stored in zip(whose, found, strict=True)
            for each, heard in _in_place([_read(name, row) for name, row in stored.items()], now)
        ]

    async def _now(self) -> datetime:
        return self._clock() if self._clock else await store_now(self._redis)


def _read(name: str, text: str) -> tuple[Presence, datetime]:
    """A process, and when it last gave a sign of life."""
    row: Any = json.loads(text)
    platform, _, process = name.partition(" ")
    presence = Presence(platform, process, row["user_id"], from_ms(row["since"]), frozenset(row["channels"]))
    return presence, from_ms(row["until"]) - GONE_AFTER


def _is_gone(heard: datetime, now: datetime) -> bool:
    return heard + GONE_AFTER <= now


def _is_forgotten(heard: datetime, now: datetime) -> bool:
    return heard + FORGET_AFTER <= now


def _in_place(
    processes: list[tuple[Presence, datetime]], now: datetime
) -> Iterator[tuple[Presence, datetime]]:
    """Those that are there, and those that have gone and that no other one replaces; by platform."""
    for presence, heard in sorted(processes, key=lambda each: (each[0].platform, each[0].process)):
        replaced = any(later > heard and other.replaces(presence) for other, later in processes)
        if not _is_gone(heard, now) or not (replaced or _is_forgotten(heard, now)):
            yield presence, heard
