"""What the page *Now* shows of who is there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi import FastAPI

from nightshift import agents
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.base.refs import ChannelRef
from nightshift.intake.connections import Connections, Holder
from nightshift.llm.breaker import Breaker
from nightshift.platforms.platform import Readiness
from nightshift.runs.states import done
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.web.console.now import draw
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import web_of


async def test_bots_that_are_there_and_that_fell_silent_are_shown(app: FastAPI, stage: Stage) -> None:
    web = web_of(app)
    assert "<h2>Bots</h2>" not in await draw(web, "hour")
    redis, keys = stage.ledger.redis, stage.ledger.keys
    now, agent = await store_now(redis), agents.of(Settings(), "default")
    long_ago = AgentLiveness(redis, keys, clock=lambda: now - timedelta(hours=2))
    await long_ago.report(agent, Presence("matrix", "one", "@bot", now - timedelta(days=1)))
    await AgentLiveness(redis, keys).report(agent, Presence("discord", "one", "4711", now))

    _, _, shown = (await draw(web, "hour")).partition("<h2>Bots</h2>")
    there, gone = shown.split("</ul>")[0].split("</li>")[:2]
    assert 'aria-label="alive"' in there
    assert "all of discord, connected" in there
    assert 'aria-label="gone"' in gone
    assert "all of matrix, last heard" in gone


@pytest.mark.parametrize("environment", [{"NIGHTSHIFT_ENDPOINTS__ROUTER__URL": "http://127.0.0.1:1/v1"}])
async def test_a_breaker_that_is_open_is_shown(app: FastAPI, stage: Stage) -> None:
    for _ in range(10):
        await Breaker(stage.ledger.redis, stage.ledger.keys).record("router", ok=False)
    assert "endpoint router: its breaker is open for " in await draw(web_of(app), "hour")


@pytest.mark.parametrize(
    "environment",
    [
        {
            "NIGHTSHIFT_PLATFORMS__HOUSE__KIND": "matrix",
            "NIGHTSHIFT_PLATFORMS__HOUSE__URL": "http://127.0.0.1:1",
            "NIGHTSHIFT_PLATFORMS__HOUSE__TOKEN": "t",
        }
    ],
)
async def test_a_platform_that_was_found_down_and_a_bot_that_fell_silent_are_no_reason_to_call_all_well(
    app: FastAPI, stage: Stage
) -> None:
    redis, keys = stage.ledger.redis, stage.ledger.keys
    assert "see to this" not in await draw(web_of(app), "hour")

    down = Readiness(False, "house cannot be reached")
    await Connections(redis, keys).note("house", down, Holder("w", "1"), begins=None)
    shown = await draw(web_of(app), "hour")
    assert "All is well" not in shown
    assert "platform house: house cannot be reached" in shown

    now = await store_now(redis)
    long_ago = AgentLiveness(redis, keys, clock=lambda: now - timedelta(hours=2))
    await long_ago.report(agents.of(Settings(), "default"), Presence("chat", "one", "@bot", now))
    assert "no bot of agent default serves all of chat any more" in await draw(web_of(app), "hour")


async def test_runs_of_a_channel_are_called_by_its_name(app: FastAPI, stage: Stage) -> None:
    room = ChannelRef("matrix", "!a:b")
    await web_of(app).here.channels.store.record_metadata(room, name="Garden")
    await stage.run(f"heartbeat:{room}", outcome=done())
    assert ">heartbeat Garden<" in await draw(web_of(app), "hour")
