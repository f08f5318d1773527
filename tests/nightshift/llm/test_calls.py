"""One call: whatever becomes of its answer, it is paid for once, and only if it was made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from nightshift.base.errors import BadKeys, Overloaded
from nightshift.demo.model import Fault, FaultRule, SimulatedModel
from nightshift.llm.keypool import KeyState
from nightshift.llm.settings import EndpointSettings, UseSettings
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run, Work, carry_out
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import Outcome, State, done
from nightshift.store.client import new_client
from nightshift.store.keys import Keys
from tests.nightshift.llm.asking import HELLO, PAYER, Verdict, asking, completion, model_at, scripted, serving
from tests.nightshift.runs.model import Clock, request

# A store that is away


@pytest.fixture
async def store(redis_socket: Path) -> AsyncIterator[Redis]:
    """A client that tries once, and can lose its way to the store."""
    async with new_client(f"unix://{redis_socket}?db=0", retries=0) as client:
        yield client


async def lead(store: Redis, socket: Path) -> None:
    """From now on look for the store behind this socket."""
    await store.connection_pool.disconnect()
    # Each connection remembers its own way.
    store.connection_pool.reset()  # type: ignore[no-untyped-call]
    store.connection_pool.connection_kwargs["path"] = str(socket)


async def test_an_answer_outlasts_a_store_that_goes_away_and_is_counted_once_it_is_back(
    redis: Redis, store: Redis, keys: Keys, redis_socket: Path, tmp_path: Path
) -> None:
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            await lead(store, tmp_path / "nowhere")
        return web.json_response(completion())

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with (
        serving(app) as origin,
        asking(store, keys, model=model_at(f"{origin}/v1", key="sk-one")) as client,
    ):
        first = await client.models.ask("flash", HELLO, PAYER)
        await lead(store, redis_socket)
        assert await redis.zcard(keys.holds) == 1
        second = await client.models.ask("flash", HELLO, PAYER)

        assert (first.value, second.value, asked) == ("hi", "hi", 2)
        assert await client.spent() == first.cost + second.cost


# What was never sent


async def test_a_call_that_no_time_is_left_for_is_not_made_and_says_nothing_of_its_endpoint(
    redis: Redis, keys: Keys
) -> None:
    async with (
        scripted(completion()) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):
        with pytest.raises(Overloaded, match="no time was left"):
            await client.models.ask("flash", HELLO, PAYER, deadline=timedelta(microseconds=1))

        assert not endpoint.asked
        assert not await client.spent()
        assert not await redis.exists(keys.breaker("main"))


@pytest.mark.parametrize("secret", ["sk-clé", "\ufeffsk-pasted", "sk-\x01"])
async def test_a_key_that_cannot_be_sent_costs_nothing_and_gives_way_to_the_next(
    redis: Redis, keys: Keys, tmp_path: Path, secret: str
) -> None:
    (tmp_path / "keys").write_text(f"{secret}\n")
    async with (
        scripted(completion()) as endpoint,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=endpoint.url, keys_file=tmp_path / "keys")},
            models={"flash": UseSettings(name="m")},
        ) as client,
    ):
        with pytest.raises(BadKeys, match="endpoint 'main'") as raised:
            await client.models.ask("flash", HELLO, PAYER)
        assert secret not in str(raised.value)
        assert not await client.spent()
        assert not await redis.exists(keys.breaker("main"))

        (tmp_path / "keys").write_text(f"{secret}\nsk-good-one\n")
        answers = [await client.models.ask("flash", HELLO, PAYER) for _ in range(2)]
        assert endpoint.shown == ["sk-good-one"] * 2
        assert await client.spent() == sum(answer.cost for answer in answers)
        states = [row.state for row in await client.pools["main"].rows()]
        assert states == [KeyState.INVALID, KeyState.OK]


# Who is told


async def carried(redis: Redis, keys: Keys, now: datetime, work: Work) -> RunRow:
    """A run after this work."""
    ledger, news = Ledger(redis, keys, clock=Clock(now)), request("news", now)
    await ledger.record(news)
    await carry_out(ledger, news.id, work, worker="w", message="m")
    return await ledger.get(news.id)


async def test_a_run_that_paid_and_failed_says_what_it_paid(redis: Redis, keys: Keys, now: datetime) -> None:
    async with (
        scripted(completion("no verdict")) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):

        async def work(run: Run) -> None:
            await client.models.ask("flash", HELLO, Payer.of(run, Occasion.SCHEDULE), schema=Verdict)

        row = await carried(redis, keys, now, work)

    assert (row.state, len(endpoint.asked)) == (State.FAILED, 2)
    assert row.cost == int(await redis.get(keys.spent_by(row.id)) or 0) > 0


async def test_a_run_is_told_of_the_call_for_which_another_model_stood_in(
    redis: Redis, keys: Keys, now: datetime, model: SimulatedModel
) -> None:
    model.set_faults(FaultRule(Fault("reset"), model="flash-simulated"))
    flash = UseSettings(name="flash-simulated", fallbacks=("main/pro-simulated",), allow_dearer=True)
    main = EndpointSettings(url=model.url)
    async with asking(redis, keys, endpoints={"main": main}, models={"flash": flash}) as client:

        async def work(run: Run) -> Outcome:
            answer = await client.models.ask("flash", HELLO, Payer.of(run, Occasion.SCHEDULE))
            return done(cost_of_answer=answer.cost)

        row = await carried(redis, keys, now, work)

    assert row.cost == int(await redis.get(keys.spent_by(row.id)) or 0) > row.result["cost_of_answer"]
