"""The demo's people, against a real web."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from nightshift import agents, client
from nightshift.access.tokens import Tokens, new_secret
from nightshift.base.refs import ChannelRef
from nightshift.demo import community
from nightshift.deployment import process_settings
from nightshift.machine.credentials import make_bots_token
from nightshift.runs.carry import Run
from nightshift.settings import Settings
from nightshift.web.serve import install_bots_tokens
from nightshift.work.runner import hand_to_runner
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve


async def test_people_talk_in_two_rooms_and_the_agent_answers(
    serve: Serve, stage: Stage, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(community, "PAUSE", timedelta(milliseconds=5))
    monkeypatch.setattr(client, "GATHER_S", 0.02)
    rooms = [ChannelRef("local", room) for room in community.ROOMS]
    async with serve() as here:
        monkeypatch.setenv("NIGHTSHIFT_WEB_PORT", str(here.port))
        process_settings.cache_clear()
        make_bots_token(process_settings().home, "default", new_secret)
        await install_bots_tokens(tokens, process_settings())
        living = asyncio.create_task(community.live())
        messages = here.web.here.memory.messages
        async with asyncio.timeout(15):
            while not all([await messages.count(room) for room in rooms]):
                await asyncio.sleep(0.02)
        agent = agents.of(Settings(), "default")
        assert await here.web.here.agents.liveness.is_alive(agent, rooms[0])

        cause = await stage.run("heartbeat:x", queue="heartbeat")
        handed = Run(await stage.claim(cause), stage.ledger)
        run = await hand_to_runner(handed, agent, rooms[0], "heartbeat", "Who has the key?")
        async with asyncio.timeout(15):
            while not (await stage.ledger.get(run)).state.ended:
                await asyncio.sleep(0.02)
        (delivery,) = await here.web.here.deliveries.store.rows([f"{run}/0"])
        assert (delivery.channel, delivery.text) == (rooms[0], "Who has the key?")
        living.cancel()
        await asyncio.wait({living})


def test_what_the_simulated_model_answers_fits_together() -> None:
    lengths = {len(values) for values in community.ANSWERS.values()}
    assert len(lengths) == 1
    for act, topic, say in zip(*(community.ANSWERS[name] for name in ("act", "topic", "say")), strict=True):
        assert act == bool(topic) == bool(say)
        assert say is None or str(say).startswith("[simulated]")
