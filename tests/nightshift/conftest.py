"""What tests of several features ask for: a clock turned by hand, a memory, a model that is not real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift import agents
from nightshift.agents.agent import Agent
from nightshift.agents.settings import AgentsSection
from nightshift.base.refs import ChannelRef
from nightshift.demo.model import SimulatedModel, simulated_model
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.limits import Limits
from nightshift.memory.message import Message, MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock

ROOM = ChannelRef("discord", "lobby")


@dataclass
class Room:
    """What a bot sees in one channel."""

    clock: Clock
    ref: ChannelRef = ROOM

    def said(self, id: str, text: str = "hello", **more: Any) -> Observed:
        at = more.pop("at", self.clock.now)
        return Observed(
            MessageKind.NEW, self.ref, id, **({"user_id": "ann", "user_name": "Ann"} | more), text=text, at=at
        )

    def edited(self, id: str, text: str, **more: Any) -> Observed:
        return Observed(MessageKind.EDITED, self.ref, id, text=text, **more)

    def deleted(self, id: str) -> Observed:
        return Observed(MessageKind.DELETED, self.ref, id)

    def later(self, **duration: float) -> datetime:
        self.clock.now += timedelta(**duration)
        return self.clock.now

    def called(self, id: str) -> Room:
        return replace(self, ref=ChannelRef(self.ref.platform, id))


async def unembedded(messages: Messages, limit: int) -> list[Message]:
    """The messages that wait for a vector, or for theirs to go; those that wait longest first."""
    queue = EmbeddingQueue(Ledger(messages.redis, messages.keys), messages)
    return await queue.take(datetime(2100, 1, 1, tzinfo=UTC), limit)


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def agent() -> Agent:
    return agents.of(AgentsSection(), "default")


@pytest.fixture
def room(clock: Clock) -> Room:
    return Room(clock)


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def messages(redis: Redis, keys: Keys, limits: Limits, clock: Clock) -> Messages:
    return Messages(redis, keys, limits, clock=clock)


@pytest.fixture
async def model() -> AsyncIterator[SimulatedModel]:
    """A simulated model that answers at once."""
    async with simulated_model() as model:
        yield model
