"""What stands in a visit's way outside its channel, on real rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.agents import agent as agents
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.base.refs import ChannelRef
from nightshift.controls.freeze import Freeze
from nightshift.heartbeats.gates import Gate
from nightshift.heartbeats.outside import Reach, Surroundings
from nightshift.heartbeats.row import source_of
from nightshift.llm.breaker import Breaker
from nightshift.llm.uses import Uses
from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.platforms.platform import Readiness
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import run_id
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.nightshift.heartbeats.scene import ROOM
from tests.nightshift.runs.model import request

RUN = run_id(source_of(ROOM), datetime(2026, 11, 20, 12, tzinfo=UTC))


class Platform:
    """A platform that can be unwell, and counts how often it is asked."""

    name, kind, repeatable_for = "discord", "discord", timedelta(0)

    def __init__(self) -> None:
        self.asked = 0
        self.readiness = Readiness(True)

    async def ready(self) -> Readiness:
        self.asked += 1
        await asyncio.sleep(0)
        return self.readiness


def settings(**more: Any) -> Settings:
    model = {"url": "http://127.0.0.1:1/v1"}
    return Settings(
        **{"model": model, "agents": {"default": {"runner": "model"}, "bot": {"delivers": "bot"}}, **more}
    )


def reach(ledger: Ledger, platform: Any) -> Reach:
    return Reach(ledger, {"discord": platform}, AgentLiveness(ledger.redis, ledger.keys))


def surroundings(ledger: Ledger, given: Settings) -> Surroundings:
    redis, keys = ledger.redis, ledger.keys
    purse = Purse(redis, keys, Caps(redis, keys, given.budget))
    return Surroundings(ledger, Freeze(redis, keys), purse, reach(ledger, Platform()), Uses(given))


async def test_a_platform_is_asked_once_in_thirty_seconds_however_many_channels_want_to_know(
    ledger: Ledger,
) -> None:
    platform, agent = Platform(), agents.of(settings(), "default")
    platform.readiness = Readiness(False, "the token is refused")
    here = reach(ledger, platform)
    found = await asyncio.gather(*(here.missing(agent, [ROOM]) for _ in range(20)))
    assert all(each == {ROOM: "discord: the token is refused"} for each in found)
    assert await reach(ledger, platform).missing(agent, [ROOM])  # nor does another process ask
    assert platform.asked == 1
    assert 0 < await ledger.redis.pttl(ledger.keys.platform_probe("discord")) <= 30_000


async def test_a_platform_that_is_not_described_is_not_there(ledger: Ledger) -> None:
    elsewhere = ChannelRef("matrix", "!room:here")
    missing = await reach(ledger, Platform()).missing(agents.of(settings(), "default"), [ROOM, elsewhere])
    assert list(missing) == [elsewhere]
    assert "[platforms.matrix]" in missing[elsewhere]


async def test_an_agent_whose_bot_speaks_for_it_is_there_while_the_bot_says_so(ledger: Ledger) -> None:
    platform, agent = Platform(), agents.of(settings(), "bot")
    here = reach(ledger, platform)
    assert "no sign of life" in (await here.missing(agent, [ROOM]))[ROOM]
    now = await store_now(ledger.redis)
    presence = Presence("discord", "1", "bot", now, frozenset({ROOM.id}))
    await AgentLiveness(ledger.redis, ledger.keys).report(agent, presence)
    other = ChannelRef("discord", "elsewhere")
    assert list(await here.missing(agent, [ROOM, other])) == [other]
    assert platform.asked == 0


async def test_a_freeze_and_an_endpoint_that_is_left_alone_stop_all_visits(
    redis: Redis, keys: Keys, ledger: Ledger
) -> None:
    assert not await surroundings(ledger, settings()).stopped()
    for _ in range(10):
        await Breaker(redis, keys).record("main", ok=False)
    await Freeze(redis, keys).freeze("ada")
    stopped = await surroundings(ledger, settings()).stopped()
    assert set(stopped) == {Gate.FROZEN, Gate.BREAKER}
    assert "half of the last calls to main failed" in stopped[Gate.BREAKER]


async def test_one_endpoint_of_the_chain_that_works_is_enough(
    redis: Redis, keys: Keys, ledger: Ledger
) -> None:
    priced = {"price_in": "1", "price_out": "1"}
    given = settings(
        endpoints={"spare": {"url": "http://127.0.0.1:2/v1"}},
        models={
            "flash": {"name": "a", "fallbacks": ["judge"], **priced},
            "judge": {"name": "b", "endpoint": "spare", **priced},
        },
    )
    for _ in range(10):
        await Breaker(redis, keys).record("main", ok=False)
    assert not await surroundings(ledger, given).stopped()


async def test_without_a_model_no_visit_passes(ledger: Ledger) -> None:
    stopped = await surroundings(ledger, settings(model={})).stopped()
    assert "no model is set" in stopped[Gate.BREAKER]


@pytest.mark.parametrize("lane", ["channel", "agent"])
async def test_what_is_not_over_keeps_the_agent_busy(ledger: Ledger, lane: str) -> None:
    given = settings()
    agent, here = agents.of(given, "default"), surroundings(ledger, given)
    assert not await here.busy(agent, ROOM)
    held = request(
        "other", await store_now(ledger.redis), lane=source_of(ROOM) if lane == "channel" else agent.lane
    )
    await ledger.record(held)
    assert await here.busy(agent, ROOM) == f"{held.id} is not over"
    await ledger.cancel(held.id)
    assert not await here.busy(agent, ROOM)


async def test_an_empty_purse_keeps_visits_from_being_recorded_and_looking_into_it_costs_nothing(
    redis: Redis, keys: Keys, ledger: Ledger
) -> None:
    given = settings()
    agent, here = agents.of(given, "default"), surroundings(ledger, given)
    assert not await here.over_budget(RUN, agent, ROOM, 0)
    broke = surroundings(ledger, settings(budget={"day": 0}))
    assert "cap is $0" in await broke.over_budget(RUN, agent, ROOM, 0)
    # There is room for one at a time, and each gives it back.
    narrow = surroundings(ledger, settings(budget={"day": "0.000002"}))
    assert [await narrow.over_budget(RUN, agent, ROOM, 0) for _ in range(3)] == ["", "", ""]
    # But not for what the last look would have needed.
    assert "no room for a call of up to $0.000003" in await narrow.over_budget(RUN, agent, ROOM, 3)
