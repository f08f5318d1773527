"""Whether a bot is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.agents.liveness import GONE_AFTER, AgentLiveness, Presence
from nightshift.channels.ref import ChannelRef
from nightshift.keys import Keys
from tests.nightshift.runs.model import Clock

GENERAL, RANDOM = ChannelRef("discord", "general"), ChannelRef("discord", "random")


@pytest.fixture
def liveness(redis: Redis, keys: Keys, clock: Clock) -> AgentLiveness:
    return AgentLiveness(redis, keys, clock=clock)


def presence(now: datetime, **changes: object) -> Presence:
    return replace(Presence("discord", "one", "4711", now), **changes)  # type: ignore[arg-type]


async def test_a_bot_is_there_for_a_while_after_it_said_so(
    liveness: AgentLiveness, agent: Agent, clock: Clock
) -> None:
    assert not await liveness.is_alive(agent, GENERAL)
    await liveness.report(agent, presence(clock.now))
    clock.now += GONE_AFTER - timedelta(milliseconds=1)
    assert await liveness.is_alive(agent, GENERAL)
    assert await liveness.user_ids(agent, "discord") == {"4711"}
    clock.now += timedelta(milliseconds=1)
    assert not await liveness.is_alive(agent, GENERAL)
    assert await liveness.user_ids(agent, "discord") == frozenset()


async def test_it_is_there_on_its_platform_and_for_its_own_agent_alone(
    liveness: AgentLiveness, agent: Agent, clock: Clock
) -> None:
    await liveness.report(agent, presence(clock.now))
    assert not await liveness.is_alive(agent, ChannelRef("matrix", "general"))
    assert not await liveness.is_alive(replace(agent, name="bob"), GENERAL)
    assert not await liveness.is_alive(replace(agent, tenant="b"), GENERAL)


async def test_a_bot_of_several_processes_serves_what_any_of_them_serves(
    liveness: AgentLiveness, agent: Agent, clock: Clock
) -> None:
    await liveness.report(agent, presence(clock.now, process="a", channels=frozenset({"general"})))
    assert not await liveness.is_alive(agent, RANDOM)
    clock.move(seconds=60)
    await liveness.report(agent, presence(clock.now, process="b", channels=frozenset({"random"})))
    assert await liveness.is_alive(agent, GENERAL)
    assert await liveness.is_alive(agent, RANDOM)
    clock.move(seconds=60)
    assert not await liveness.is_alive(agent, GENERAL)
    assert await liveness.is_alive(agent, RANDOM)


async def test_processes_that_come_and_go_leave_nothing_behind(
    liveness: AgentLiveness, agent: Agent, clock: Clock, redis: Redis, keys: Keys
) -> None:
    for number in range(200):
        await liveness.report(agent, presence(clock.now, process=f"p{number}"))
        clock.move(milliseconds=1)
    assert await redis.hlen(keys.alive("default", "default")) <= 64
    clock.move(minutes=5)
    await liveness.report(agent, presence(clock.now, process="last"))
    assert [each.process async for each in liveness.present(agent)] == ["last"]
    assert await redis.hlen(keys.alive("default", "default")) == 1
