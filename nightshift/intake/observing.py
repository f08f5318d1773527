"""What a bot tells of its platform: messages that are new, changed or taken back, and their channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.base.errors import Forbidden, RateLimited
from nightshift.channels.channel import SeenChannel
from nightshift.heartbeats.visits import Visits
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.message import Observed
from nightshift.memory.messages import Messages, ObserveResult
from nightshift.platforms.owner import owner_of
from nightshift.platforms.settings import PlatformsSection
from nightshift.store.client import store_now
from nightshift.store.keys import Keys

#: Messages that one agent may tell of within a minute.
MOST_A_MINUTE = 12_000
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Observer:
    """Takes in what bots tell, as much as each may."""

    redis: Redis
    keys: Keys
    messages: Messages
    visits: Visits
    settings: PlatformsSection
    embeddings: EmbeddingQueue | None = None
    most_a_minute: int = MOST_A_MINUTE

    async def observe(
        self, agent: Agent, batch: Sequence[Observed], channels: Sequence[SeenChannel] = ()
    ) -> ObserveResult:
        """Remember what was seen; telling it again changes nothing."""
        told_of = {each.ref for each in batch} | {each.ref for each in channels}
        for platform in {ref.platform for ref in told_of}:
            self._refuse_strangers(agent, platform)
        await self._count(agent, len(batch))
        for seen in channels:
            await self.messages.channels.record_seen(seen, tenant=agent.tenant, agent=agent.name)
        result = await self.messages.observe(batch, tenant=agent.tenant, agent=agent.name)
        if result.touched:
            await self.visits.touched(*result.touched)
        if self.embeddings and (result.new or result.edited or result.deleted):
            await self.embeddings.wake()
        return result

    def _refuse_strangers(self, agent: Agent, platform: str) -> None:
        # Channels they claimed would be read for them, and talked in for them, with another tenant's token.
        if platform not in self.settings.all_platforms:  # that no token of ours reaches
            return
        if owner_of(self.settings, platform).tenant != agent.tenant:
            raise Forbidden(
                f"platform {platform!r} is set up for another tenant than agent {agent.name!r}'s; "
                "tell of yours by a name of its own, or have [platforms] name an agent of this tenant"
            )

    async def _count(self, agent: Agent, many: int) -> None:
        now = (await store_now(self.redis)).timestamp()
        minute, passed = divmod(now, MINUTE.total_seconds())
        key = self.keys.observed(agent.tenant, agent.name, int(minute))
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.incrby(key, max(many, 1))
        pipeline.expire(key, MINUTE * 2)
        if (await pipeline.execute())[0] > self.most_a_minute:
            raise RateLimited(
                f"agent {agent.name!r} has told of more than {self.most_a_minute} messages within a minute; "
                "what was refused may be told again later",
                retry_after=MINUTE - timedelta(seconds=passed),
            )
