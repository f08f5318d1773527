"""Deliveries in a real store, a platform that does as it is told, and runs that send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from nightshift import agents
from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, NewDelivery
from nightshift.deliveries.sending import Sender
from nightshift.platforms.platform import Outgoing, PastMessage, Platform, Readiness, Sent, Server
from nightshift.runs.carry import carry_out
from nightshift.runs.ledger import Ledger
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock

ROOM = ChannelRef("chat", "!room:example.org")
OTHER = ChannelRef("chat", "{b}*:%")


@dataclass
class Chat:
    """A platform that takes what it is sent, or answers with what it is told to."""

    name: str = "chat"
    kind: str = "chat"
    repeatable_for: timedelta = timedelta(0)
    #: What comes of the next sends; nothing: they are taken.
    answers: list[BaseException] = field(default_factory=list)
    #: Set once a send has reached the platform and before it answers.
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    #: What each send waits for before it is answered.
    hold: asyncio.Event | None = None
    taken: list[Outgoing] = field(default_factory=list)

    @property
    def repeatable(self) -> bool:
        return self.repeatable_for > timedelta(0)

    @property
    def texts(self) -> Sequence[str]:
        """What stands in its channels: the same key is taken once by one that knows keys."""
        seen = {out.key if self.repeatable else str(n): out.text for n, out in enumerate(self.taken)}
        return list(seen.values())

    async def send(self, out: Outgoing) -> Sent:
        if self.answers:
            raise self.answers.pop(0)
        self.taken.append(out)
        self.reached.set()
        if self.hold:
            await self.hold.wait()
        return Sent(f"m-{out.key[:8]}", datetime(2026, 11, 20, 12, 0, 1).astimezone())

    async def ready(self) -> Readiness:
        return Readiness(True, user_id="@bot")

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        return []

    async def servers_and_channels(self) -> list[Server]:
        return []

    async def close(self) -> None:
        pass


@dataclass
class Post:
    """Everything between a wish to speak and a platform."""

    ledger: Ledger
    deliveries: Deliveries
    switches: Switches
    clock: Clock
    freeze: Freeze
    chat: Chat = field(default_factory=Chat)
    remembered: list[Delivery] = field(default_factory=list)

    @property
    def sender(self) -> Sender:
        async def remember(delivery: Delivery) -> None:
            self.remembered.append(delivery)

        def owner_of(platform: str) -> Agent:
            return agents.of(Settings(), "")

        chat = cast(Platform, self.chat)
        return Sender(self.deliveries, {"chat": chat}, owner_of, self.freeze, remember)

    async def ask(self, text: str = "good morning", **changes: Any) -> Delivery:
        wanted: dict[str, Any] = {"run": "heartbeat:a@2026-11-20T12:00:00Z", "channel": ROOM, **changes}
        return await self.deliveries.request(NewDelivery(text=text, **wanted))

    async def waiting(self) -> list[str]:
        """Runs that a worker would be told of, soonest first."""
        return [row.id for row in await self.ledger.open_runs() if row.ready <= self.clock.now]

    async def carry(self, run: str, sender: Sender | None = None) -> str:
        return await carry_out(self.ledger, run, (sender or self.sender).send, worker="w", message="m")

    async def work(self) -> None:
        """Carry out what waits until nothing does."""
        while runs := await self.waiting():
            for run in runs:
                await self.carry(run)

    async def state(self, delivery: Delivery) -> str:
        return (await self.deliveries.get(delivery.id)).state


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def switches(redis: Redis, keys: Keys) -> Switches:
    return Switches(redis, keys, Settings())


@pytest.fixture
async def post(redis: Redis, keys: Keys, switches: Switches, clock: Clock) -> AsyncIterator[Post]:
    ledger = Ledger(redis, keys, clock=clock)
    freeze = Freeze(redis, keys, look_every=timedelta(milliseconds=10))
    yield Post(ledger, Deliveries(redis, keys, switches, clock=clock), switches, clock, freeze)
    await freeze.close()
