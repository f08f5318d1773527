"""What jobs stand on is found out by asking it."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from nightshift.base.instants import EPOCH
from nightshift.controls.freeze import Freezing
from nightshift.controls.switches import KNOWN, SwitchBoard
from nightshift.jobs.needs import missing_needs
from nightshift.jobs.row import Need
from nightshift.llm.settings import ModelSettings
from nightshift.settings import Settings
from nightshift.store.client import new_client

ALL_ON = SwitchBoard(dict.fromkeys(KNOWN, True), {})
WITH_MODEL = Settings.model_construct(model=ModelSettings(url="http://127.0.0.1:9"))


async def test_a_server_without_the_graph_module_is_told_from_one_that_does_not_answer(redis: Redis) -> None:
    async with new_client("redis://127.0.0.1:1", retries=0) as nobody:
        unset, plain, silent = [
            (await missing_needs(WITH_MODEL, ALL_ON, graph))[Need.GRAPH] for graph in (None, redis, nobody)
        ]

    assert unset == "no graph is set; set NIGHTSHIFT_GRAPH_URL"
    assert plain == "the server at NIGHTSHIFT_GRAPH_URL has no FalkorDB module"
    assert silent.startswith("the graph does not answer: ")


@pytest.mark.parametrize(
    ("settings", "board", "problem"),
    [
        (WITH_MODEL, ALL_ON, None),
        (
            Settings.model_construct(model=ModelSettings()),
            ALL_ON,
            "no model is set; set NIGHTSHIFT_MODEL__URL",
        ),
        (WITH_MODEL, SwitchBoard({"chat_llm_enabled": False}, {}), "switch chat_llm_enabled is off"),
        (
            WITH_MODEL,
            SwitchBoard({**ALL_ON.on, "shadow_calls": False}, {}),
            "in shadow, the switch shadow_calls is off; `nightshift switches set shadow_calls on` opens it",
        ),
        (WITH_MODEL, SwitchBoard({**ALL_ON.on, "shadow_calls": False, "shadow": False}, {}), None),
        (
            WITH_MODEL,
            SwitchBoard(ALL_ON.on, {}, Freezing("ann", "odd", EPOCH)),
            "ann froze every call and send at 1970-01-01 00:00:00 UTC: odd",
        ),
    ],
)
async def test_a_model_is_there_when_it_is_set_and_switched_on(
    settings: Settings, board: SwitchBoard, problem: str | None
) -> None:
    assert (await missing_needs(settings, board, None)).get(Need.CHAT_LLM) == problem
