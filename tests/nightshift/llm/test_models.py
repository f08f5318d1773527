"""Asking a model: each way to fail is told apart, and everything is paid for once."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from nightshift.base.errors import (
    BadAnswer,
    BadKeys,
    BadRequest,
    BadSetting,
    Frozen,
    NightshiftError,
    OutOfBudget,
    Overloaded,
    RateLimited,
    RefusedByModel,
    Truncated,
)
from nightshift.base.instants import to_ms
from nightshift.demo.model import Fault, FaultRule, SimulatedModel, SimulatedModelOptions, simulated_model
from nightshift.llm import lexical
from nightshift.llm.keypool import KeyState, key_id
from nightshift.llm.models import Models
from nightshift.llm.prompts import PromptMessage
from nightshift.llm.settings import EndpointSettings, UseSettings
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import Outcome, State, done
from nightshift.store.keys import Keys
from tests.nightshift.llm.asking import (
    HELLO,
    PAYER,
    Asking,
    Verdict,
    asking,
    completion,
    model_at,
    scripted,
)
from tests.nightshift.runs.model import Clock, request

SHORT, LONG = timedelta(seconds=0.2), timedelta(seconds=20)
FLASH = "flash-simulated"
CHATS = "/v1/chat/completions"


@pytest.fixture
async def client(redis: Redis, keys: Keys, model: SimulatedModel) -> AsyncIterator[Asking]:
    """The client, set to the simulated model as one sets it in a word."""
    async with asking(redis, keys, model=model_at(model.url)) as client:
        yield client


# What is asked and answered


async def test_an_answer_says_what_it_took_and_all_books_agree(client: Asking, model: SimulatedModel) -> None:
    answers = [await client.models.ask("flash", HELLO, PAYER) for _ in range(3)]

    row = model.requests[FLASH, CHATS]
    assert answers[0].value.startswith("[simulated]")
    assert not answers[0].estimated
    assert sum(answer.cost for answer in answers) == row.cost_micro_usd == await client.spent()
    assert sum(answer.tokens_in for answer in answers) == row.prompt_tokens
    assert sum(answer.tokens_out for answer in answers) == row.completion_tokens


async def test_a_value_fits_its_schema(client: Asking) -> None:
    answer = await client.models.ask("flash", HELLO, PAYER, schema=Verdict)

    assert answer.value == Verdict(act=False, why="simulated", say="simulated")


async def test_a_stream_comes_piece_by_piece_and_then_as_a_whole(
    client: Asking, model: SimulatedModel
) -> None:
    streamed = client.models.stream("chat", HELLO, PAYER)
    pieces = [piece async for piece in streamed]

    assert len(pieces) > 1
    assert streamed.answer
    assert streamed.answer.value == "".join(pieces)
    assert streamed.answer.cost == model.total.cost_micro_usd == await client.spent()


async def test_a_stream_that_its_reader_leaves_is_counted_at_its_most(
    client: Asking, model: SimulatedModel
) -> None:
    streamed = client.models.stream("chat", HELLO, PAYER)
    await anext(streamed)
    await streamed.aclose()

    assert await client.spent() > model.total.cost_micro_usd


async def test_no_request_ever_offers_tools_and_each_limits_its_answer(redis: Redis, keys: Keys) -> None:
    bad, good = completion("no"), completion('{"act": true, "why": "x", "say": null}')
    async with (
        scripted(completion(), bad, good) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):
        await client.models.ask("flash", HELLO, PAYER, max_tokens=7)
        await client.models.ask("flash", HELLO, PAYER, schema=Verdict)

    assert len(endpoint.asked) == 3
    for body in endpoint.asked:
        assert not body.keys() & {"tools", "functions", "tool_choice"}
    assert [body["max_tokens"] for body in endpoint.asked] == [7, 1024, 1024]


async def test_lone_surrogates_are_replaced_before_they_are_sent(redis: Redis, keys: Keys) -> None:
    async with (
        scripted(completion()) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):
        await client.models.ask("flash", [PromptMessage("user", "a\ud800b \ud83d\ude00")], PAYER)

    assert endpoint.asked[0]["messages"] == [{"role": "user", "content": "a\ufffdb 😀"}]


async def test_openrouter_is_told_to_honour_what_is_asked_and_to_say_the_cost(
    redis: Redis, keys: Keys
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.001234}
    async with (
        scripted(completion(usage=usage)) as endpoint,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=endpoint.url, kind="openrouter")},
            models={"flash": UseSettings(name="google/gemini-2.5-flash")},
        ) as client,
    ):
        answer = await client.models.ask("flash", HELLO, PAYER)

    assert endpoint.asked[0]["provider"] == {"require_parameters": True}
    assert endpoint.asked[0]["usage"] == {"include": True}
    assert (answer.cost, answer.estimated) == (1234, False)


async def test_nothing_is_asked_where_no_model_is_set(redis: Redis, keys: Keys) -> None:
    async with asking(redis, keys) as client:
        with pytest.raises(BadSetting, match="NIGHTSHIFT_MODEL__URL"):
            await client.models.ask("flash", HELLO, PAYER)


# What it costs


def byok(cost: float, **details: float | None) -> dict[str, Any]:
    """What OpenRouter says of a call with a key that it was given."""
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    return tokens | {"cost": cost, "is_byok": True, "cost_details": details}


@pytest.mark.parametrize(
    ("usage", "price", "cost", "estimated"),
    [
        # As the endpoint says.
        ({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.00007}, None, 70, False),
        # Or at the price that the settings say, rounded up.
        ({"prompt_tokens": 10, "completion_tokens": 5}, ("0.1", "0.5"), 4, False),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cost": -1}, ("0.1", "0.5"), 4, False),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cost": 10**400}, ("0.1", "0.5"), 4, False),
        # What the model thought stands in the total alone.
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 30}, ("0.1", "0.5"), 11, False),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}, ("0.1", "0.5"), 4, False),
        # With a key of one's own behind OpenRouter the provider is paid as well.
        (byok(0, upstream_inference_cost=0.00007), ("0.1", "0.5"), 70, False),
        (byok(0.00001, upstream_inference_cost=0.00007), ("0.1", "0.5"), 80, False),
        (byok(0, upstream_inference_cost=None), ("0.1", "0.5"), 4, False),
        (byok(0.00007, upstream_inference_cost=0.00007) | {"is_byok": False}, ("0.1", "0.5"), 70, False),
        # A price nobody knows, tokens nobody counts, or a cost that is none: the most it can have been.
        ({"prompt_tokens": 10, "completion_tokens": 5}, None, None, True),
        (None, ("0.1", "0.5"), None, True),
        ({"prompt_tokens": -10, "completion_tokens": 5, "cost": -1}, ("0.1", "0.5"), None, True),
        ({"prompt_tokens": "many"}, ("0.1", "0.5"), None, True),
    ],
)
async def test_what_a_call_cost_is_said_computed_or_assumed_at_its_most(
    redis: Redis,
    keys: Keys,
    usage: dict[str, Any] | None,
    price: tuple[str, str] | None,
    cost: int | None,
    estimated: bool,
) -> None:
    prices = {"price_in": Decimal(price[0]), "price_out": Decimal(price[1])} if price else {}
    async with (
        scripted(completion(usage=usage)) as endpoint,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=endpoint.url)},
            models={"flash": UseSettings(name="somebodys-own", max_output_tokens=100, **prices)},
        ) as client,
    ):
        answer = await client.models.ask("flash", HELLO, PAYER)

        sent = json.dumps(endpoint.asked[0]["messages"]).encode()
        most = len(sent) / 10 + 50 if price else len(sent) * 15 + 100 * 60
        assert answer.estimated is estimated
        assert answer.cost == cost if cost is not None else most <= answer.cost <= most * 1.2
        assert await client.spent() == answer.cost


async def test_without_a_budget_nothing_is_asked(redis: Redis, keys: Keys, model: SimulatedModel) -> None:
    async with asking(redis, keys, model=model_at(model.url), budget=Decimal(0)) as client:
        for _ in range(3):
            with pytest.raises(OutOfBudget, match="cap is \\$0"):
                await client.models.ask("flash", HELLO, PAYER, schema=Verdict)
        with pytest.raises(OutOfBudget):
            await anext(client.models.stream("flash", HELLO, PAYER))

    assert model.total.calls == 0


async def test_many_who_ask_at_once_exceed_no_cap(redis: Redis, keys: Keys, model: SimulatedModel) -> None:
    async with asking(redis, keys, model=model_at(model.url), budget=Decimal("0.02")) as client:
        asked = (client.models.ask("flash", HELLO, PAYER, max_tokens=1000) for _ in range(60))
        answers = await asyncio.gather(*asked, return_exceptions=True)

        refused = [answer for answer in answers if isinstance(answer, OutOfBudget)]
        assert 0 < len(refused) < 60
        assert model.total.calls == 60 - len(refused)
        assert await client.spent() == model.total.cost_micro_usd <= 20_000


async def test_a_frozen_house_asks_nobody(client: Asking, model: SimulatedModel) -> None:
    await client.freeze.freeze("me")

    with pytest.raises(Frozen):
        await client.models.ask("flash", HELLO, PAYER)
    assert model.total.calls == 0


async def test_a_freeze_cuts_the_call_that_is_under_way(client: Asking, model: SimulatedModel) -> None:
    model.set_faults(FaultRule(Fault("hang")))
    asked = asyncio.create_task(client.models.ask("flash", HELLO, PAYER))
    while not model.total.calls:
        await asyncio.sleep(0.01)
    await client.freeze.freeze("me")

    async with asyncio.timeout(5):
        with pytest.raises(Frozen):
            await asked
    assert await client.spent() > 0  # nobody says what it cost


async def test_a_worker_that_stops_pays_for_the_call_that_it_cut(
    client: Asking, model: SimulatedModel
) -> None:
    model.set_faults(FaultRule(Fault("hang")))
    asked = asyncio.create_task(client.models.ask("flash", HELLO, PAYER))
    while not model.total.calls:
        await asyncio.sleep(0.01)
    asked.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await client.spent() > 0


# What goes wrong


async def read_text(models: Models, deadline: timedelta) -> object:
    return await models.ask("flash", HELLO, PAYER, deadline=deadline)


async def read_value(models: Models, deadline: timedelta) -> object:
    return await models.ask("flash", HELLO, PAYER, schema=Verdict, deadline=deadline)


async def read_stream(models: Models, deadline: timedelta) -> object:
    return [piece async for piece in models.stream("flash", HELLO, PAYER, deadline=deadline)]


@pytest.mark.parametrize("ask", [read_text, read_value, read_stream])
@pytest.mark.parametrize(
    ("fault", "error", "words", "paid"),
    [
        ("401", BadKeys, "key", False),
        ("402", BadKeys, "credits", False),
        ("429; retry-after=7", RateLimited, "429", False),
        ("500", Overloaded, "500", False),
        ("503; retry-after-ms=7000", Overloaded, "503", False),
        ("529", Overloaded, "529", False),
        # Whoever does not say what it cost may have charged for it.
        ("hang", Overloaded, "in time", True),
        ("drip; interval-ms=20", Overloaded, "in time", True),
        ("reset", Overloaded, "does not answer", True),
        ("truncated", Overloaded, "cannot be read|broke off", True),
        ("wrong-body", Overloaded, "no completion|broke off", True),
        ("huge", BadAnswer, "more than the 4 MB", True),
    ],
)
async def test_each_way_to_fail_is_told_apart(
    client: Asking,
    model: SimulatedModel,
    fault: str,
    ask: Callable[[Models, timedelta], Awaitable[object]],
    error: type[NightshiftError],
    words: str,
    paid: bool,
) -> None:
    model.set_faults(FaultRule(Fault.parse(fault)))

    with pytest.raises(error, match=words) as raised:
        # Long for what ends by itself, however busy the machine is.
        await ask(client.models, SHORT if "in time" in words else LONG)

    assert getattr(raised.value, "retry_after", None) == (timedelta(seconds=7) if "retry" in fault else None)
    assert bool(await client.spent()) is paid
    assert model.total.calls == 1


async def test_the_wrong_json_is_sent_back_once_and_then_given_up(
    client: Asking, model: SimulatedModel
) -> None:
    model.set_faults(FaultRule(Fault("wrong-json"), times=1))
    repaired = await client.models.ask("flash", HELLO, PAYER, schema=Verdict)
    assert repaired.value.why == "simulated"
    assert repaired.cost == model.total.cost_micro_usd  # of both turns

    model.set_faults(FaultRule(Fault("wrong-json")))
    with pytest.raises(BadAnswer, match="no Verdict: all of it"):
        await client.models.ask("flash", HELLO, PAYER, schema=Verdict)
    assert model.total.calls == 4
    assert await client.spent() == model.total.cost_micro_usd


async def test_the_repair_names_what_was_wrong(redis: Redis, keys: Keys) -> None:
    wrong = completion('{"act": "perhaps", "say": null}')
    right = completion('```json\n{"act": true, "why": "asked twice"}\n```')
    async with (
        scripted(wrong, right) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):
        answer = await client.models.ask("flash", HELLO, PAYER, schema=Verdict)

    assert answer.value == Verdict(act=True, why="asked twice")
    first, again = (body["messages"] for body in endpoint.asked)
    assert again[: len(first)] == first
    assert again[-2] == {"role": "assistant", "content": '{"act": "perhaps", "say": null}'}
    assert "act: Input should be a valid boolean" in again[-1]["content"]
    assert "why: Field required" in again[-1]["content"]


async def test_an_endpoint_without_schemas_is_told_in_words_and_remembered(redis: Redis, keys: Keys) -> None:
    refused = web.json_response({"error": {"message": "response_format is not supported"}}, status=400)
    verdict = completion('{"act": false, "why": "quiet"}')
    async with (
        scripted(refused, verdict) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url)) as client,
    ):
        for _ in range(2):
            answer = await client.models.ask("flash", HELLO, PAYER, schema=Verdict)
            assert answer.value.why == "quiet"

    formats = [body["response_format"]["type"] for body in endpoint.asked]
    assert formats == ["json_schema", "json_object", "json_object"]
    assert '"act"' in endpoint.asked[1]["messages"][-1]["content"]
    assert endpoint.asked[0]["response_format"]["json_schema"]["strict"] is True


async def test_what_makes_no_sense_in_any_shape_is_a_bad_request_and_forgotten(
    redis: Redis, keys: Keys
) -> None:
    refused = web.json_response({"error": {"message": "the context is too long"}}, status=400)
    async with scripted(refused) as endpoint, asking(redis, keys, model=model_at(endpoint.url)) as client:
        for _ in range(2):
            with pytest.raises(BadRequest, match="too long"):
                await client.models.ask("flash", HELLO, PAYER, schema=Verdict)

    formats = [body["response_format"]["type"] for body in endpoint.asked]
    assert formats == ["json_schema", "json_object"] * 2


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (completion("", choices=[{"message": {"refusal": "I will not"}}]), RefusedByModel, "I will not"),
        (
            completion("", choices=[{"message": {"content": ""}, "finish_reason": "content_filter"}]),
            RefusedByModel,
            "filter",
        ),
        (
            completion("", choices=[{"message": {"content": "x"}, "finish_reason": "length"}]),
            Truncated,
            "max_output_tokens",
        ),
        # A gateway whose own upstream failed, or limits it.
        ({"error": {"code": 503, "message": "upstream is away"}}, Overloaded, "upstream is away"),
        ({"error": {"code": 429, "message": "slow down"}}, RateLimited, "slow down"),
        ({"choices": []}, Overloaded, "no completion"),
        ({"choices": "none", "usage": 3}, Overloaded, "no completion"),
    ],
)
async def test_what_is_no_answer_says_why(
    redis: Redis, keys: Keys, answer: dict[str, Any], error: type[NightshiftError], words: str
) -> None:
    async with scripted(answer) as endpoint, asking(redis, keys, model=model_at(endpoint.url)) as client:
        with pytest.raises(error, match=words):
            await client.models.ask("flash", HELLO, PAYER)


async def test_an_answer_too_deep_to_read_is_as_good_as_none(redis: Redis, keys: Keys) -> None:
    deep = web.Response(body=b"[" * 200_000, content_type="application/json")
    async with scripted(deep) as endpoint, asking(redis, keys, model=model_at(endpoint.url)) as client:
        with pytest.raises(Overloaded, match="sent what cannot be read"):
            await client.models.ask("flash", HELLO, PAYER)


async def test_a_huge_answer_is_not_held_in_memory(client: Asking, model: SimulatedModel) -> None:
    model.set_faults(FaultRule(Fault.parse("huge; bytes=50000000")))
    with pytest.raises(BadAnswer):  # what is loaded once is loaded now
        await client.models.ask("flash", HELLO, PAYER)
    tracemalloc.start()
    with pytest.raises(BadAnswer):
        await client.models.ask("flash", HELLO, PAYER)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 20_000_000


@pytest.mark.parametrize("fault", ["503", "reset"])
async def test_half_of_the_calls_failing_spares_the_endpoint(
    client: Asking, model: SimulatedModel, fault: str
) -> None:
    model.set_faults(FaultRule(Fault(fault)))
    for _ in range(12):
        with pytest.raises(Overloaded):
            await client.models.ask("flash", HELLO, PAYER)

    assert model.total.calls == 10


async def test_a_storm_of_429_is_waited_out_as_told_and_given_up_after_six_tries(
    client: Asking, model: SimulatedModel, redis: Redis, keys: Keys, now: datetime
) -> None:
    model.set_faults(FaultRule(Fault.parse("429; retry-after=7")))
    clock = Clock(now)
    ledger = Ledger(redis, keys, clock=clock)
    news = request("news", now)
    await ledger.record(news)

    async def work(run: Run) -> Outcome:
        answer = await client.models.ask("flash", HELLO, Payer.of(run, Occasion.SCHEDULE))
        return done(said=answer.value)

    states: list[State | str] = []
    waits: list[float] = []
    while not states or states[-1] is State.WAITING:
        states.append(await carry_out(ledger, news.id, work, worker="w1", message="m1"))
        if due := await redis.zscore(keys.open, news.id):
            waits.append(due - to_ms(clock.now))
            # Whoever comes before the time is up does not ask.
            clock.move(seconds=6)
            assert await carry_out(ledger, news.id, work, worker="w1", message="m2") == "early"
            clock.move(seconds=1)

    assert states == [State.WAITING] * 5 + [State.FAILED]
    assert waits == [7_000] * 5
    assert model.total.calls == 6


# Keys


async def test_a_key_that_is_refused_gives_way_to_the_next_and_rests_after_two_refusals(
    redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("sk-bad\nsk-good\n")
    async with (
        simulated_model(SimulatedModelOptions(api_key="sk-good")) as model,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=model.url, keys_file=tmp_path / "keys")},
            models={"flash": UseSettings(name=FLASH)},
        ) as client,
    ):
        for _ in range(6):
            assert (await client.models.ask("flash", HELLO, PAYER)).value

        states = {row.id: row.state for row in await client.pools["main"].rows()}
        assert states == {key_id("sk-bad"): KeyState.INVALID, key_id("sk-good"): KeyState.OK}
        assert model.total.outcomes["answered"] == 6


async def test_a_key_that_is_limited_gives_way_to_the_next(
    redis: Redis, keys: Keys, model: SimulatedModel, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("sk-one\nsk-two\n")
    model.set_faults(FaultRule(Fault.parse("429; retry-after=60"), times=1))
    async with asking(
        redis,
        keys,
        endpoints={"main": EndpointSettings(url=model.url, keys_file=tmp_path / "keys")},
        models={"embed": UseSettings(name="embedding-simulated")},
    ) as client:
        assert len((await client.models.embed(["a", "b"], PAYER)).vectors) == 2
        model.set_faults(FaultRule(Fault.parse("429; retry-after=60")))
        with pytest.raises(RateLimited, match="all 2 keys") as raised:
            await client.models.embed(["c"], PAYER)

    assert raised.value.retry_after
    assert timedelta(0) < raised.value.retry_after <= timedelta(seconds=60)


@pytest.mark.parametrize("secrets", ["sk-one", "sk-one\nsk-two"])
async def test_keys_that_rest_for_one_model_are_shown_to_the_others(
    redis: Redis, keys: Keys, model: SimulatedModel, tmp_path: Path, secrets: str
) -> None:
    (tmp_path / "keys").write_text(secrets)
    model.set_faults(FaultRule(Fault.parse("429; retry-after=60"), model=FLASH))
    async with asking(
        redis,
        keys,
        endpoints={"main": EndpointSettings(url=model.url, keys_file=tmp_path / "keys")},
        models={"flash": UseSettings(name=FLASH), "embed": UseSettings(name="embedding-simulated")},
    ) as client:
        for _ in range(2):
            with pytest.raises(RateLimited, match=f"rest for {FLASH}"):
                await client.models.ask("flash", HELLO, PAYER)
        assert model.requests[FLASH, CHATS].calls == len(secrets.split()), "each key once"
        assert (await client.models.embed(["a"], PAYER)).vectors


async def test_401_on_every_key_asks_with_each_once_and_then_no_more(
    redis: Redis, keys: Keys, model: SimulatedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [f"sk-canary-{number}" for number in range(3)]
    (tmp_path / "keys").write_text("\n".join(secrets))
    model.set_faults(FaultRule(Fault("401")))
    async with asking(
        redis,
        keys,
        endpoints={"main": EndpointSettings(url=model.url, keys_file=tmp_path / "keys")},
        models={"flash": UseSettings(name=FLASH)},
    ) as client:
        for calls in (3, 6, 6):
            with pytest.raises(BadKeys) as raised:
                await client.models.ask("flash", HELLO, PAYER)
            assert model.total.calls == calls
            assert "sk-canary" not in str(raised.value)
        assert not await client.spent()
    assert "sk-canary" not in caplog.text


async def test_an_endpoint_that_repeats_the_key_does_not_make_us_tell_it(redis: Redis, keys: Keys) -> None:
    told = web.json_response({"error": {"message": "Incorrect API key: sk-canary-1"}}, status=401)
    async with (
        scripted(told) as endpoint,
        asking(redis, keys, model=model_at(endpoint.url, key="sk-canary-1")) as client,
    ):
        with pytest.raises(BadKeys, match="Incorrect API key: …") as raised:
            await client.models.ask("flash", HELLO, PAYER)

    assert "sk-canary" not in str(raised.value)
    assert endpoint.shown == ["sk-canary-1"]


async def test_a_key_put_into_the_file_later_is_used_without_a_restart(
    redis: Redis, keys: Keys, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-old\n")
    async with (
        scripted(completion()) as endpoint,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=endpoint.url, keys_file=file)},
            models={"flash": UseSettings(name="m")},
        ) as client,
    ):
        await client.models.ask("flash", HELLO, PAYER)
        file.write_text("sk-new-one\n")
        await client.models.ask("flash", HELLO, PAYER)

    assert endpoint.shown == ["sk-old", "sk-new-one"]


# Fallbacks


def chain(model: SimulatedModel, *fallbacks: str, **told: Any) -> dict[str, Any]:
    """Settings in which flash, which may be told to fail, has these to stand in for it."""
    return {
        "endpoints": {"main": EndpointSettings(url=model.url)},
        "models": {"flash": UseSettings(name="flash-simulated", fallbacks=fallbacks, **told)},
    }


@pytest.mark.parametrize("fault", ["429", "503", "401", "reset"])
async def test_the_next_of_the_chain_stands_in_for_one_that_cannot(
    redis: Redis, keys: Keys, model: SimulatedModel, fault: str
) -> None:
    model.set_faults(FaultRule(Fault(fault), model="flash-simulated"))
    told = chain(model, "main/pro-simulated", allow_dearer=True)
    async with asking(redis, keys, **told) as client:
        answer = await client.models.ask("flash", HELLO, PAYER)
        streamed = client.models.stream("flash", HELLO, PAYER)
        assert [piece async for piece in streamed]

    assert answer.model == "pro-simulated"
    assert model.requests["flash-simulated", CHATS].calls == 2
    assert model.requests["pro-simulated", CHATS].outcomes == {"answered": 2}


async def test_one_that_hangs_leaves_time_to_the_one_that_stands_in_for_it(
    redis: Redis, keys: Keys, model: SimulatedModel
) -> None:
    model.set_faults(FaultRule(Fault("hang"), model="flash-simulated"))
    async with asking(redis, keys, **chain(model, "main/pro-simulated", allow_dearer=True)) as client:
        answer = await client.models.ask("flash", HELLO, PAYER, deadline=timedelta(seconds=2))

    assert answer.model == "pro-simulated"


async def test_nobody_stands_in_for_one_that_was_asked_nonsense_or_refuses(redis: Redis, keys: Keys) -> None:
    refused = web.json_response({"error": {"message": "nonsense"}}, status=400)
    async with (
        scripted(refused) as endpoint,
        asking(
            redis,
            keys,
            endpoints={"main": EndpointSettings(url=endpoint.url)},
            models={"flash": UseSettings(name="a", fallbacks=("main/b",), allow_dearer=True)},
        ) as client,
    ):
        with pytest.raises(BadRequest, match="nonsense"):
            await client.models.ask("flash", HELLO, PAYER)

    assert [body["model"] for body in endpoint.asked] == ["a"]


async def test_when_all_refuse_the_soonest_time_to_come_back_is_told(
    redis: Redis, keys: Keys, model: SimulatedModel
) -> None:
    model.set_faults(
        FaultRule(Fault.parse("429; retry-after=90"), model="flash-simulated"),
        FaultRule(Fault.parse("503; retry-after=5"), model="pro-simulated"),
    )
    async with asking(redis, keys, **chain(model, "main/pro-simulated", allow_dearer=True)) as client:
        with pytest.raises(Overloaded) as raised:
            await client.models.ask("flash", HELLO, PAYER)

    assert raised.value.retry_after == timedelta(seconds=5)


# Vectors


async def test_texts_become_vectors_in_their_order_however_many(
    redis: Redis, keys: Keys, model: SimulatedModel
) -> None:
    texts = [f"text {number}" for number in range(70)] + ["", "\ud800"]
    async with asking(
        redis,
        keys,
        endpoints={"main": EndpointSettings(url=model.url)},
        models={"embed": UseSettings(name="embedding-simulated")},
    ) as client:
        found = await client.models.embed(texts, PAYER)
        alone = await client.models.embed(texts[40:41], PAYER)

        assert (found.model, found.dim, len(found.vectors)) == ("embedding-simulated", 256, 72)
        assert found.vectors[40] == alone.vectors[0]
        assert found.cost + alone.cost == model.total.cost_micro_usd == await client.spent()


async def test_vectors_that_are_missing_or_no_numbers_are_no_answer(
    redis: Redis, keys: Keys, model: SimulatedModel
) -> None:
    model.set_faults(FaultRule(Fault("wrong-json")))
    async with asking(
        redis,
        keys,
        endpoints={"main": EndpointSettings(url=model.url)},
        models={"embed": UseSettings(name="embedding-simulated")},
    ) as client:
        with pytest.raises(BadAnswer, match="0 sound vectors for 2 texts"):
            await client.models.embed(["a", "b"], PAYER)


async def test_without_a_model_for_them_vectors_are_lexical_and_free(
    client: Asking, model: SimulatedModel
) -> None:
    found = await client.models.embed(["the cat sat"], PAYER)

    assert (found.model, found.dim, found.cost) == ("lexical-v1", 256, 0)
    assert found.vectors == [lexical.embed("the cat sat")]
    assert model.total.calls == 0


# The probe


async def test_the_probe_asks_for_one_token_and_counts_it(client: Asking, model: SimulatedModel) -> None:
    answer = await client.models.probe(PAYER)

    assert answer.tokens_out == 1
    assert answer.cost == model.total.cost_micro_usd == await client.spent()
