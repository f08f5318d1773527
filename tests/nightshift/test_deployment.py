"""The real parts of one deployment: made once, each on its own store, closed together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest

from nightshift.base.errors import BadSetting
from nightshift.deployment import Deployment, close_deployment, deployment, process_settings
from nightshift.platforms.local import LocalPlatform
from nightshift.settings import load_settings
from nightshift.store.ground import QUICK
from nightshift.store.keys import Keys
from nightshift.web.app import create_app
from tests.nightshift.runs.model import request

Made = Callable[[str], Deployment]


@pytest.fixture
async def made(redis_socket: Path, request: pytest.FixtureRequest) -> AsyncIterator[Made]:
    """Deployments in one database, each with a root of its own."""
    url = f"unix://{redis_socket}?db=0"
    async with AsyncExitStack() as stack:

        async def sweep(here: Deployment) -> None:
            async for key in here.state.scan_iter(f"{here.keys.prefix}*"):
                await here.state.delete(key)
            await here.close()

        def make(root: str) -> Deployment:
            here = Deployment(load_settings(state_url=url, broker_url=url, graph_url=url, key_root=root))
            stack.push_async_callback(sweep, here)
            return here

        yield make


async def test_what_is_not_asked_for_is_not_made_and_what_is_is_made_once(here: Deployment) -> None:
    assert not {"ground", "runs", "llm", "platforms"} & set(vars(here))
    ledger = here.runs.ledger
    assert here.runs.ledger is ledger
    assert "llm" not in vars(here)
    assert here.heartbeats.visiting is here.heartbeats.visiting
    assert here.llm.models is here.llm.models


async def test_two_deployments_share_a_database_and_see_nothing_of_each_other(
    made: Made, now: datetime
) -> None:
    one, other = made("test-one"), made("test-other")
    run = request("news", now)
    for here in (one, other):
        assert await here.runs.ledger.record(run) == "recorded", "it is no other deployment's run"
    await one.controls.switches.set("shadow", True)
    await one.controls.freeze.freeze("ann")
    secret = await one.access.tokens.create("ann")

    assert (await other.controls.switches.read()).on["shadow"] is False
    assert await other.controls.freeze.state() is None
    assert await other.access.tokens.find(secret) is None
    look = await other.runs.ledger.look("pulse")
    assert [hint.run_id for hint in look.hints] == [run.id]
    assert (await one.runs.ledger.look("pulse")).on_shift, "the shift of each is its own"
    assert one.keys.message_graph("default") != other.keys.message_graph("default")
    assert {key async for key in one.state.scan_iter("test-*")} == {
        key
        for here in (one, other)
        async for key in one.state.scan_iter(f"{here.keys.root.replace('{', '[{]')}*")
    }


async def test_it_is_closed_from_the_top_down(here: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[bool] = []

    async def close(platform: LocalPlatform) -> None:
        answers.append(bool(await here.state.ping()))

    monkeypatch.setattr(LocalPlatform, "close", close)
    assert "local" in here.platforms.by_name
    await here.close()
    assert answers == [True], "a platform that closes still reaches the store"


async def test_a_face_has_the_patience_that_it_says(redis_socket: Path) -> None:
    url = f"unix://{redis_socket}?db=0"
    settings = load_settings(state_url=url, broker_url=url, graph_url=url)
    async with Deployment(settings, QUICK) as here:
        # What routes ask for themselves is asked by these too: nobody waits longer than the face promises.
        for client in (here.state, here.broker, here.ground.graphs):
            assert client
            retry = client.get_retry()
            assert retry
            assert retry.get_retries() == QUICK.retries
        assert here.forgetting._redis is here.state
        assert here.memory.messages.redis is here.state


async def test_every_store_forgets_in_an_order_in_which_nothing_comes_back(here: Deployment) -> None:
    asked = [each.name for each in here.forgetting._forgetters]
    assert asked[:2] == ["messages", "replies"], "nothing new is made of what was said"
    assert asked.index("runs") < asked.index("rooms") < asked.index("replies", 2)
    assert asked[-1] == "events", "what is done before is told there"
    assert set(asked) == {
        "messages",
        "replies",
        "runs",
        "deliveries",
        "rooms",
        "heartbeats",
        "recall",
        "summaries",
        "events",
    }


@pytest.fixture
def _told(monkeypatch: pytest.MonkeyPatch, redis_socket: Path) -> Iterator[None]:
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", f"unix://{redis_socket}?db=0")
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


@pytest.mark.usefixtures("_told")
def test_each_loop_has_one_of_its_own() -> None:
    async def found() -> Deployment:
        here = deployment()
        assert deployment() is here
        assert await here.state.ping()
        await close_deployment()
        assert deployment() is not here, "what was closed is not handed out again"
        await close_deployment()
        return here

    assert asyncio.run(found()) is not asyncio.run(found())


async def test_what_needs_no_graph_outlives_one_that_is_named_wrongly(redis_socket: Path, keys: Keys) -> None:
    url = f"unix://{redis_socket}?db=0"
    settings = load_settings(state_url=url, graph_url="falkor://here:1/0", key_root=keys.prefix)
    async with Deployment(settings) as here:
        assert (await here.controls.freeze.freeze("ann")).by == "ann", "of all things this has to work"
        assert await here.runs.ledger.counts()
        with pytest.raises(BadSetting, match="NIGHTSHIFT_GRAPH_URL"):
            here.memory.graph("default")


async def test_a_web_that_could_not_tell_of_its_broker_does_not_start() -> None:
    app = create_app(load_settings(state_url="redis://127.0.0.1:1"))
    with pytest.raises(BadSetting, match="NIGHTSHIFT_BROKER_URL"):
        async with app.router.lifespan_context(app):
            pass
