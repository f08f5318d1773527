"""Whether a bot is there."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.agents.liveness import FORGET_AFTER, GONE_AFTER, AgentLiveness, Presence
from nightshift.base.refs import ChannelRef
from nightshift.store.keys import Keys
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
    there = presence(clock.now)
    await liveness.report(agent, there)
    clock.now += GONE_AFTER - timedelta(milliseconds=1)
    assert await liveness.is_alive(agent, GENERAL)
    assert await liveness.user_ids(agent, "discord") == {"4711"}
    assert await liveness.find(agent, "discord", "one") == there
    assert await liveness.find(agent, "discord", "two") is None
    clock.now += timedelta(milliseconds=1)
    assert not await liveness.is_alive(agent, GENERAL)
    assert await liveness.user_ids(agent, "discord") == frozenset()
    assert await liveness.find(agent, "discord", "one") is None


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


# Who is listed


async def heard(liveness: AgentLiveness) -> list[tuple[str, bool]]:
    """The processes that are listed, and whether each is there."""
    return [(bot.process, bot.alive) for bot in await liveness.bots()]


async def test_a_bot_that_fell_silent_is_listed_as_gone_for_a_day(
    liveness: AgentLiveness, agent: Agent, clock: Clock, redis: Redis, keys: Keys
) -> None:
    assert await liveness.bots() == []
    since = clock.now - timedelta(hours=1)
    await liveness.report(agent, presence(since, channels=frozenset({"general", "random"})))
    last = clock.now
    kept_for = timedelta(seconds=await redis.ttl(keys.alive("default", "default")))
    assert timedelta(minutes=-1) < kept_for - FORGET_AFTER <= timedelta(0)
    clock.now = last + GONE_AFTER - timedelta(milliseconds=1)
    (bot,) = await liveness.bots()
    assert (bot.agent, bot.platform, bot.channels) == ("default", "discord", 2)
    assert (bot.connected_since, bot.heard, bot.alive) == (since, last, True)
    assert bot.serves == "2 channels of discord"
    clock.move(milliseconds=1)
    assert await heard(liveness) == [("one", False)]
    clock.now = last + FORGET_AFTER - timedelta(milliseconds=1)
    assert await heard(liveness) == [("one", False)]
    clock.move(milliseconds=1)
    assert await liveness.bots() == []


async def test_bots_are_listed_by_agent_and_platform_whatever_the_settings_say(
    liveness: AgentLiveness, agent: Agent, clock: Clock
) -> None:
    for name, platform in (("zoe", "matrix"), ("ann", "matrix"), ("ann", "discord")):
        await liveness.report(replace(agent, name=name), presence(clock.now, platform=platform))
    listed = [(bot.agent, bot.platform, bot.serves) for bot in await liveness.bots()]
    assert listed == [
        ("ann", "discord", "all of discord"),
        ("ann", "matrix", "all of matrix"),
        ("zoe", "matrix", "all of matrix"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "replaced"),
    [
        ({}, {}, True),
        ({"general"}, {}, True),
        ({"general"}, {"general", "random"}, True),
        ({}, {"general"}, False),  # the rest of the platform is served by nobody
        ({"general", "random"}, {"general"}, False),
    ],
)
async def test_a_process_that_has_gone_is_listed_until_another_serves_what_it_served(
    liveness: AgentLiveness, agent: Agent, clock: Clock, before: set[str], after: set[str], replaced: bool
) -> None:
    await liveness.report(agent, presence(clock.now, process="old", channels=frozenset(before)))
    clock.move(seconds=60)
    await liveness.report(agent, presence(clock.now, process="new", channels=frozenset(after)))
    assert await heard(liveness) == [("new", True), ("old", True)], "both are there"
    clock.move(seconds=60)
    assert await heard(liveness) == [("new", True)] + ([] if replaced else [("old", False)])
    clock.move(minutes=5)
    assert await heard(liveness) == [("new", False)] + ([] if replaced else [("old", False)])


async def test_a_bot_on_another_platform_replaces_nobody(
    liveness: AgentLiveness, agent: Agent, clock: Clock
) -> None:
    await liveness.report(agent, presence(clock.now))
    clock.move(minutes=5)
    await liveness.report(agent, presence(clock.now, platform="matrix"))
    assert [(bot.platform, bot.alive) for bot in await liveness.bots()] == [
        ("discord", False),
        ("matrix", True),
    ]
