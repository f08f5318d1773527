"""A channel's visit through real processes: handed out, judged, looked at, and said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.row import source_of
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.row import run_id
from nightshift.runs.states import State
from nightshift.store.client import store_now
from tests.faults.deployment import UNHURRIED, Deployment, until
from tests.nightshift.heartbeats.model import Model, answering

ROOM = ChannelRef("local", "lounge")
QUEUES = "heartbeat,agents,io"


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with answering() as model:
        yield model


@pytest.fixture
async def visiting(core: Path, model: Model) -> AsyncIterator[Deployment]:
    """The shared core, told of a model that the test answers for."""
    told = f"""
[model]
url = "{model.url}"
[agents.default]
runner = "model"
quiet_from = "00:00"
quiet_until = "00:00"
"""
    async with Deployment(core, UNHURRIED + told) as here:
        yield here


async def say_and_visit_soon(here: Deployment) -> str:
    """A person speaks, and the channel is visited in a moment; returns the run that comes of it."""
    redis, keys = here.client, here.ledger.keys
    now = await store_now(redis)
    minute = timedelta(minutes=1)
    said = Observed(
        MessageKind.NEW, ROOM, f"m{to_ms(now)}", "ada", "Ada", "When is the release?", now - minute
    )
    await Messages(redis, keys).observe([said])
    visits = Visits(redis, keys)
    await visits.adopt({ROOM: now}, HeartbeatRules(), now=now)
    at = to_ms(now + timedelta(seconds=1))
    await redis.hset(keys.visit(str(ROOM)), mapping={"next_at": at, "starts": ""})
    await redis.zadd(keys.visits, {str(ROOM): at})
    await redis.publish(keys.poke, "visits")
    return run_id(source_of(ROOM), now + timedelta(seconds=1))


async def test_a_visit_becomes_a_look_and_a_look_becomes_something_said_once(
    visiting: Deployment, model: Model
) -> None:
    model.decide("The release is on Friday.", topic="release")
    await visiting.start_worker("upkeep", QUEUES)
    run = await say_and_visit_soon(visiting)
    looked = await visiting.until_state(run, State.DONE)
    await visiting.until_state(looked.result["work"], State.DONE)

    async def said() -> bool:
        return any(each.own for each in await Messages(visiting.client, visiting.ledger.keys).last(ROOM, 5))

    await until(said, 10, "the agent has said it")
    assert len(model.requests) == 2  # one look, and one message written
    assert not any("tools" in request for request in model.requests)
    row = await Visits(visiting.client, visiting.ledger.keys).find(ROOM)
    assert row
    assert row.generation == 2
    assert row.thought_at == looked.started
