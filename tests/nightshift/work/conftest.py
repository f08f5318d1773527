"""An agent whose bot comes for work, and what hands it some."""

from __future__ import annotations

from typing import Protocol

import pytest
from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.runs.carry import Run
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from nightshift.work.pull import PullWork
from nightshift.work.runner import hand_to_runner
from tests.nightshift.runs.model import Clock, request

ROOM = ChannelRef("discord", "a:b {}*")


@pytest.fixture
def ledger(redis: Redis, keys: Keys, clock: Clock) -> Ledger:
    return Ledger(redis, keys, clock=clock)


@pytest.fixture
def deliveries(redis: Redis, keys: Keys, clock: Clock) -> Deliveries:
    return Deliveries(redis, keys, Switches(redis, keys, Settings()), clock=clock)


@pytest.fixture
def work(ledger: Ledger, deliveries: Deliveries) -> PullWork:
    return PullWork(ledger, deliveries)


class Hand(Protocol):
    """Hand the agent something to do, on account of a beat; returns the run of the work."""

    async def __call__(self, source: str = "heartbeat:x", **changes: object) -> str: ...


@pytest.fixture
def hand(ledger: Ledger, clock: Clock, agent: Agent) -> Hand:
    async def handed(source: str = "heartbeat:x", **changes: object) -> str:
        cause = request(source, clock.now, queue="heartbeat")
        await ledger.record(cause)
        claimed = await ledger.claim(cause.id, worker="w", message="m")
        assert isinstance(claimed, RunRow), claimed
        whose = changes.get("agent", agent)
        assert isinstance(whose, Agent)
        return await hand_to_runner(Run(claimed, ledger), whose, ROOM, "heartbeat", "Say good night.")

    return handed
