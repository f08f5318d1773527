from __future__ import annotations

import asyncio
import json
import math
import re
import time
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import Annotated, Any, Literal
from uuid import UUID

import aiohttp
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from pydantic import BaseModel, Field, ValidationError

from nightshift.base.errors import BadSetting
from nightshift.demo.model import (
    Fault,
    FaultRule,
    SimulatedModel,
    SimulatedModelOptions,
    serve,
    simulated_model,
)
from nightshift.demo.model.faults import FAULTS
from nightshift.demo.model.instances import NoInstance, instance_of

CHAT = "/v1/chat/completions"
MODEL = "flash-simulated"
GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "simulate-a-model.md"


def say(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def question(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": say("What is new?")} | more


class Mood(StrEnum):
    CALM = "calm"
    CROSS = "cross"


class Bird(BaseModel):
    kind: Literal["bird"]
    wings: Annotated[int, Field(ge=2, le=2)]


class Fish(BaseModel):
    kind: Literal["fish"]
    depth: Annotated[float, Field(gt=0, lt=1)]


class Note(BaseModel):
    title: str
    mood: Mood
    weight: Annotated[float, Field(ge=0.25, multiple_of=0.1)]
    tags: Annotated[list[str], Field(min_length=2, max_length=3)]
    seen: date | None
    animal: Bird | Fish
    answers: list[Note]
    parent: Note | None


class Record(BaseModel):
    key: UUID
    made_at: datetime
    took: timedelta
    pair: tuple[int, str]
    kinds: set[Mood]
    by_name: dict[str, int]
    animal: Annotated[Bird | Fish, Field(discriminator="kind")]
    code: Annotated[str, Field(min_length=12, max_length=12, pattern="^[a-z]+$")]
    even: Annotated[int, Field(gt=10, multiple_of=4)]
    anything: Any


# Answers


async def test_what_it_says_is_marked_as_simulated(client: AsyncOpenAI) -> None:
    response = await client.chat.completions.with_raw_response.create(**question())
    completion = response.parse()

    assert response.headers["x-simulated"] == "true"
    assert completion.model_extra == {"simulated": True}
    assert completion.system_fingerprint == "simulated"
    assert str(completion.choices[0].message.content).startswith("[simulated] ")
    assert completion.choices[0].finish_reason == "stop"


async def test_the_same_question_gets_the_same_bytes_and_another_one_does_not(
    http: aiohttp.ClientSession,
) -> None:
    async def ask(**more: Any) -> bytes:
        async with http.post(CHAT, json=question(**more)) as response:
            return await response.read()

    first, again, seeded, other_model, other_history = await asyncio.gather(
        ask(),
        ask(),
        ask(seed=7),
        ask(model="pro-simulated"),
        ask(messages=say("Earlier.") + say("What is new?")),
    )

    assert first == again
    assert len({first, seeded, other_model, other_history}) == 4


async def test_a_stream_says_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(**question())
    stream = await client.chat.completions.create(
        **question(), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage]
    assert len([piece for piece in said if piece]) > 5


async def test_an_answer_that_reaches_its_limit_is_cut_and_keeps_its_label(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**question(), max_tokens=1)

    assert completion.choices[0].message.content == "[simulated]"
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 1


async def test_a_structured_answer_fits_the_model_it_was_asked_with(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.parse(**question(), response_format=Note)

    note = completion.choices[0].message.parsed
    assert note
    assert note.title == "simulated"
    assert note.answers[0].answers == []


async def test_a_json_object_is_given_when_no_schema_is(client: AsyncOpenAI) -> None:
    completion = await client.chat.completions.create(**question(), response_format={"type": "json_object"})

    assert json.loads(completion.choices[0].message.content or "") == {"simulated": "simulated"}


async def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(client: AsyncOpenAI) -> None:
    batch = await client.embeddings.create(model="embedding-simulated", input=["a", "b"], dimensions=8)
    alone = await client.embeddings.create(model="embedding-simulated", input="b", dimensions=8)

    a, b = (item.embedding for item in batch.data)
    assert a != b == alone.data[0].embedding
    assert len(a) == 8
    assert math.hypot(*a) == pytest.approx(1, abs=1e-6)


async def test_both_encodings_of_an_embedding_hold_the_same_numbers(http: aiohttp.ClientSession) -> None:
    async def embed(encoding: str) -> Any:
        body = {"model": "any", "input": "a", "dimensions": 3, "encoding_format": encoding}
        async with http.post("/v1/embeddings", json=body) as response:
            return (await response.json())["data"][0]["embedding"]

    assert list(unpack("<3f", b64decode(await embed("base64")))) == await embed("float")


async def test_the_models_it_lists_are_named_as_simulated(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]

    assert MODEL in names
    assert all(name.endswith("simulated") for name in names)


async def test_a_prompt_of_several_megabytes_is_taken(http: aiohttp.ClientSession) -> None:
    prompt = json.dumps(question(messages=say("x" * 3_000_000))).encode()
    async with http.post(CHAT, data=BytesIO(prompt)) as response:
        assert response.status == 200


# Books


async def test_its_books_agree_with_those_of_its_callers(
    model: SimulatedModel, client: AsyncOpenAI, http: aiohttp.ClientSession
) -> None:
    usages: list[Any] = [
        (await client.chat.completions.create(**question())).usage,
        (await client.chat.completions.create(**question(messages=say("And then?")))).usage,
        (await client.embeddings.create(model="other", input=["one", "two"])).usage,
    ]
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**question(), extra_headers={"x-sim-fault": "500"})
    async with http.get("/sim/ledger") as response:
        ledger = await response.json()

    assert ledger["total"] == {
        "calls": 4,
        "outcomes": {"answered": 3, "500": 1},
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "completion_tokens": sum(getattr(usage, "completion_tokens", 0) for usage in usages),
        "cost_micro_usd": round(sum(usage.cost for usage in usages) * 1_000_000),
    }
    assert ledger["total"]["cost_micro_usd"] > 0
    assert [(row["model"], row["path"], row["calls"]) for row in ledger["rows"]] == [
        (MODEL, CHAT, 3),
        ("other", "/v1/embeddings", 1),
    ]
    assert model.requests[MODEL, CHAT].outcomes == {"answered": 2, "500": 1}


async def test_a_reset_forgets_the_calls_and_takes_up_the_first_faults(http: aiohttp.ClientSession) -> None:
    options = SimulatedModelOptions(faults=(FaultRule(Fault("503"), times=1),))
    async with simulated_model(options) as model:

        async def status() -> int:
            async with http.post(f"{model.url}/chat/completions", json=question()) as response:
                return response.status

        assert [await status(), await status()] == [503, 200]
        async with http.post(f"{model.origin}/sim/reset"):
            assert model.total.calls == 0
        assert [await status(), await status()] == [503, 200]


async def test_a_caller_who_leaves_early_is_counted_and_not_charged(
    model: SimulatedModel, client: AsyncOpenAI
) -> None:
    slow = question(model=f"{MODEL}?latency_ms=60000")
    asking = asyncio.create_task(client.chat.completions.create(**slow))
    await until(lambda: model.total.calls == 1)
    asking.cancel()

    await until(lambda: model.total.outcomes == {"client left": 1})
    assert model.total.cost_micro_usd == 0


# Latency


async def test_an_answer_takes_as_long_as_it_was_told_to(http: aiohttp.ClientSession) -> None:
    async with simulated_model(SimulatedModelOptions(latency=timedelta(milliseconds=80))) as slow:
        started = time.monotonic()
        async with http.post(f"{slow.url}/chat/completions", json=question()):
            assert time.monotonic() - started >= 0.08


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        (f"{MODEL}?latency_ms=0", {}),
        (MODEL, {"x-sim-latency-ms": "0"}),
        # The header wins.
        (f"{MODEL}?latency_ms=90000", {"x-sim-latency-ms": "0"}),
    ],
)
async def test_a_request_may_set_its_own_latency(
    http: aiohttp.ClientSession, name: str, headers: dict[str, str]
) -> None:
    async with (
        simulated_model(SimulatedModelOptions(latency=timedelta(hours=1))) as slow,
        http.post(f"{slow.url}/chat/completions", json=question(model=name), headers=headers) as response,
    ):
        assert (await response.json())["model"] == MODEL


# Faults


async def test_a_rate_limit_tells_when_to_come_back(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as seconds:
        await client.chat.completions.create(
            **question(), extra_headers={"x-sim-fault": "429; retry-after=7"}
        )
    with pytest.raises(openai.RateLimitError) as milliseconds:
        await client.chat.completions.create(**question(model=f"{MODEL}?fault=429&retry_after_ms=250"))

    assert seconds.value.response.headers["retry-after"] == "7"
    assert milliseconds.value.response.headers["retry-after-ms"] == "250"


async def test_a_client_that_comes_back_when_told_gets_its_answer(
    model: SimulatedModel, client: AsyncOpenAI
) -> None:
    model.set_faults(FaultRule(Fault.parse("429; retry-after-ms=1"), times=2))

    completion = await client.with_options(max_retries=2).chat.completions.create(**question())

    assert completion.choices
    assert model.total.outcomes == {"429": 2, "answered": 1}


@pytest.mark.parametrize("status", [name for name in FAULTS if name.isdigit()])
async def test_a_fault_named_after_a_status_answers_with_it(client: AsyncOpenAI, status: str) -> None:
    with pytest.raises(openai.APIStatusError, match=r"\[simulated\]") as raised:
        await client.chat.completions.create(**question(), extra_headers={"x-sim-fault": status})

    assert raised.value.status_code == int(status)
    assert raised.value.code


async def test_a_hanging_call_ends_only_when_its_client_does(model: SimulatedModel) -> None:
    async with AsyncOpenAI(base_url=model.url, api_key="any", max_retries=0, timeout=0.5) as hasty:
        with pytest.raises(openai.APITimeoutError):
            await hasty.chat.completions.create(**question(model=f"{MODEL}?fault=hang"))

    assert model.total.outcomes == {"hang": 1}


async def test_a_dripped_answer_comes_byte_by_byte_and_is_whole(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=question()) as response:
        whole = await response.read()
    async with http.post(CHAT, json=question(), headers={"x-sim-fault": "drip; interval-ms=0"}) as response:
        assert await response.read() == whole

    started = time.monotonic()
    async with http.post(CHAT, json=question(), headers={"x-sim-fault": "drip; interval-ms=20"}) as response:
        assert await response.content.readexactly(5) == whole[:5]
    assert time.monotonic() - started >= 0.08


async def test_a_truncated_answer_is_not_json(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=question(), headers={"x-sim-fault": "truncated"}) as response:
        assert response.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(await response.text())


async def test_wrong_json_is_json_that_the_schema_does_not_accept(client: AsyncOpenAI) -> None:
    with pytest.raises(ValidationError, match="should be an object"):
        await client.chat.completions.parse(
            **question(), response_format=Note, extra_headers={"x-sim-fault": "wrong-json"}
        )


async def test_wrong_json_for_embeddings_lacks_the_vectors(http: aiohttp.ClientSession) -> None:
    body = {"model": "any?fault=wrong-json", "input": ["a", "b"]}
    async with http.post("/v1/embeddings", json=body) as response:
        assert (await response.json())["data"] == []


async def test_a_wrong_body_is_json_without_what_a_completion_has(http: aiohttp.ClientSession) -> None:
    async with http.post(CHAT, json=question(model=f"{MODEL}?fault=wrong-body")) as response:
        assert "choices" not in await response.json()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_huge_answer_has_the_size_asked_for(client: AsyncOpenAI, streamed: bool) -> None:
    asked = question(model=f"{MODEL}?fault=huge&bytes=200000")
    if streamed:
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = str((await client.chat.completions.create(**asked)).choices[0].message.content)

    assert text.startswith("[simulated] ")
    assert text.endswith(" simulated simulated")
    assert 200_000 < len(text) < 200_200


@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, question()), (CHAT, question(stream=True)), ("/v1/embeddings", {"model": "m", "input": "a"})],
)
async def test_a_huge_answer_is_never_held_in_memory(
    http: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    terabyte = {"x-sim-fault": "huge; bytes=900000000000"}
    async with http.post(path, json=body, headers=terabyte) as response:
        assert len(await response.content.readexactly(1_000_000)) == 1_000_000


async def test_a_reset_connection_is_not_an_orderly_end(
    model: SimulatedModel, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(aiohttp.ClientOSError, match="Connection reset by peer"):
        async with http.post(CHAT, json=question(), headers={"x-sim-fault": "reset"}):
            pass
    assert model.total.outcomes == {"reset": 1}


async def test_a_script_is_spent_on_the_requests_it_names(
    model: SimulatedModel, http: aiohttp.ClientSession
) -> None:
    script = [
        {"fault": "402", "times": 1, "match": {"model": "pro-*"}},
        {"fault": "529", "match": {"path": "/v1/embeddings"}},
    ]
    async with http.post("/sim/faults", json=script) as response:
        assert response.status == 200

    async def status(name: str, path: str = CHAT) -> int:
        async with http.post(path, json=question(model=name, input="a")) as response:
            return response.status

    assert await status(MODEL) == 200
    assert [await status("pro-simulated") for _ in range(2)] == [402, 200]
    assert [await status(MODEL, "/v1/embeddings") for _ in range(3)] == [529] * 3


async def test_a_header_wins_over_the_name_and_the_name_over_the_script(
    model: SimulatedModel, http: aiohttp.ClientSession
) -> None:
    model.set_faults(FaultRule(Fault("500"), times=1))

    async def status(name: str, **headers: str) -> int:
        async with http.post(CHAT, json=question(model=name), headers=headers) as response:
            return response.status

    named = f"{MODEL}?fault=402"
    assert await status(named, **{"x-sim-fault": "401"}) == 401
    assert await status(named) == 402
    assert [await status(MODEL) for _ in range(2)] == [500, 200]


async def test_a_bad_request_spends_no_fault(model: SimulatedModel, http: aiohttp.ClientSession) -> None:
    model.set_faults(FaultRule(Fault("500"), times=1))

    async with http.post(CHAT, json=question(messages=[])) as response:
        assert response.status == 400
    async with http.post(CHAT, json=question()) as response:
        assert response.status == 500


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (CHAT, question(), {"x-sim-fault": "418"}),
        (CHAT, question(model=f"{MODEL}?fault=418"), {}),
        ("/sim/faults", {"fault": "418"}, {}),
    ],
)
async def test_an_unknown_fault_is_refused_with_the_known_ones(
    http: aiohttp.ClientSession, path: str, body: Any, headers: dict[str, str]
) -> None:
    async with http.post(path, json=body, headers=headers) as response:
        assert response.status == 400
        message = (await response.json())["error"]["message"]
    assert "'418'" in message
    assert all(name in message for name in FAULTS)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"fault": "429; pause=3"}, "'pause'"),
        ({"fault": "429; retry-after=soon"}, "'soon'"),
        ({"fault": "429", "times": 0}, "times=0"),
        # A boolean is not a number.
        ({"fault": "429", "times": True}, "times=True"),
        ({"fault": "429", "match": {"modle": "x"}}, "modle"),
        ({"fault": "429", "tmies": 3}, "'tmies'"),
        ({"times": 3}, "'fault'"),
    ],
)
async def test_a_script_that_is_not_understood_leaves_the_old_one_in_place(
    model: SimulatedModel, http: aiohttp.ClientSession, rule: Any, said: str
) -> None:
    model.set_faults(FaultRule(Fault("500")))

    async with http.post("/sim/faults", json=[{"fault": "429"}, rule]) as response:
        assert response.status == 400
        assert said in (await response.json())["error"]["message"]
    async with http.post(CHAT, json=question()) as response:
        assert response.status == 500


# Refusals


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (question(model=None), "model"),
        (question(model=f"{MODEL}?speed=9"), "model"),
        (question(model=f"{MODEL}?latency_ms=fast"), "x-sim-latency-ms"),
        (question(messages="hello"), "messages"),
        (question(messages=[]), "messages"),
        (question(messages=[{"role": "nobody", "content": "a"}]), "messages[0].role"),
        (question(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (question(max_tokens=0), "max_tokens"),
        # A boolean is not a number.
        (question(max_tokens=True), "max_tokens"),
        (question(n=2), "n"),
        (question(stream="yes"), "stream"),
        (question(stream_options={"include_usage": True}), "stream_options"),
        (question(response_format={"type": "xml"}), "response_format"),
        (question(response_format={"type": "json_schema"}), "response_format.json_schema"),
        (
            question(response_format={"type": "json_schema", "json_schema": {"schema": {"not": {}}}}),
            "response_format.json_schema.schema",
        ),
        (["no", "object"], None),
    ],
)
async def test_a_bad_request_is_told_which_parameter_is_bad(
    model: SimulatedModel, http: aiohttp.ClientSession, body: Any, param: str | None
) -> None:
    async with http.post(CHAT, json=body) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert model.total.outcomes == {"400": 1}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [[1, 2], []]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 5000}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
async def test_a_bad_embedding_request_is_told_which_parameter_is_bad(
    http: aiohttp.ClientSession, more: dict[str, Any], param: str
) -> None:
    async with http.post("/v1/embeddings", json={"model": "any", "input": "a"} | more) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "raw", "status"),
    [
        (CHAT, "{", 400),
        (CHAT, "[" * 100_000, 400),
        # Half of a surrogate pair is JSON, and text of a kind.
        (CHAT, json.dumps(question(messages=say("\ud800"), model="\ud800")), 200),
        ("/v1/embeddings", json.dumps({"model": "\ud800", "input": "\ud800"}), 200),
    ],
)
async def test_odd_bytes_are_answered_in_good_order(
    http: aiohttp.ClientSession, path: str, raw: str, status: int
) -> None:
    async with http.post(path, data=raw) as response:
        assert response.status == status
        assert (await response.json())["simulated"]


async def test_an_unknown_path_is_refused_in_the_same_words_as_all_else(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/files") as response:
        assert response.status == 404
        assert "/v1/files" in (await response.json())["error"]["message"]


async def test_a_key_is_asked_of_every_caller_if_one_is_set(http: aiohttp.ClientSession) -> None:
    async with simulated_model(SimulatedModelOptions(api_key="right")) as guarded:
        async with AsyncOpenAI(base_url=guarded.url, api_key="wrong", max_retries=0) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.chat.completions.create(**question())
            with pytest.raises(openai.AuthenticationError):
                await stranger.models.list()
        for path, method in (("/sim/ledger", "GET"), ("/sim/reset", "POST"), ("/sim/faults", "POST")):
            async with http.request(method, guarded.origin + path, json=[]) as response:
                assert response.status == 401
        assert guarded.total.outcomes == {"401": 2}
        async with AsyncOpenAI(base_url=guarded.url, api_key="right", max_retries=0) as friend:
            assert (await friend.chat.completions.create(**question())).choices


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "localhost"])  # noqa: S104 - it is refused
def test_a_host_that_others_may_reach_is_refused_unless_it_is_meant(host: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(host)):
        SimulatedModelOptions(host=host)
    assert SimulatedModelOptions(host=host, allow_remote=True).host == host


async def test_a_port_in_use_is_named(model: SimulatedModel) -> None:
    with pytest.raises(BadSetting, match=str(model.port)):
        async with simulated_model(SimulatedModelOptions(port=model.port)):
            pass


# Running


async def test_it_stops_without_waiting_for_those_it_keeps_waiting(http: aiohttp.ClientSession) -> None:
    async with simulated_model() as model:
        url = f"{model.url}/chat/completions"
        waiting = asyncio.create_task(http.post(url, json=question(model=f"{MODEL}?fault=hang")).__aenter__())
        await until(lambda: model.total.outcomes == {"hang": 1})
        leaving = time.monotonic()

    assert time.monotonic() - leaving < 5
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_it_serves_until_it_is_cancelled(http: aiohttp.ClientSession) -> None:
    started: asyncio.Future[SimulatedModel] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(SimulatedModelOptions(), started.set_result))
    model = await started
    async with http.get(f"{model.url}/models") as response:
        assert response.status == 200

    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(f"{model.url}/models")


async def test_the_example_in_the_guide_works(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        names: dict[str, Any] = {}
        exec(example, names)  # noqa: S102 - it is our own page
        await names["main"]()
    assert "[simulated]" in capsys.readouterr().out


# Schemas: each comes with what checks it, so that the checker shares nothing with the builder.

type Checked = tuple[dict[str, Any], Callable[[Any], bool]]


@st.composite
def whole_numbers(draw: st.DrawFn) -> Checked:
    step = draw(st.integers(1, 9))
    low = draw(st.integers(-1000, 1000))
    high = low + step + draw(st.integers(0, 50))
    schema = {"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}
    return schema, lambda value: type(value) is int and low <= value <= high and value % step == 0


@st.composite
def open_intervals(draw: st.DrawFn) -> Checked:
    low = draw(st.floats(-1e6, 1e6))
    high = low + draw(st.floats(1e-3, 1e6))
    schema = {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": high}
    return schema, lambda value: type(value) in (int, float) and low < value < high


@st.composite
def texts(draw: st.DrawFn) -> Checked:
    shortest = draw(st.integers(0, 30))
    longest = shortest + draw(st.integers(0, 30))
    schema = {"type": "string", "minLength": shortest, "maxLength": longest}
    return schema, lambda value: isinstance(value, str) and shortest <= len(value) <= longest


@st.composite
def choices(draw: st.DrawFn) -> Checked:
    values = draw(st.lists(st.text(max_size=5) | st.integers() | st.none() | st.booleans(), min_size=1))
    if draw(st.booleans()):
        return {"const": values[0]}, lambda value: (type(value), value) == (type(values[0]), values[0])
    return {"enum": values}, lambda value: (type(value), value) in [(type(each), each) for each in values]


@st.composite
def lists_of(draw: st.DrawFn, parts: st.SearchStrategy[Checked]) -> Checked:
    item, item_fits = draw(parts)
    fewest = draw(st.integers(0, 3))
    most = fewest + draw(st.integers(0, 3))
    schema = {"type": "array", "items": item, "minItems": fewest, "maxItems": most}
    return (
        schema,
        lambda value: isinstance(value, list) and fewest <= len(value) <= most and all(map(item_fits, value)),
    )


@st.composite
def objects_of(draw: st.DrawFn, parts: st.SearchStrategy[Checked]) -> Checked:
    parts_by_name = draw(st.dictionaries(st.text(max_size=5), parts, max_size=4))
    required = [name for name in parts_by_name if draw(st.booleans())]
    schema = {
        "type": "object",
        "properties": {name: part for name, (part, _) in parts_by_name.items()},
        "required": required,
        "additionalProperties": False,
    }
    return (
        schema,
        lambda value: (
            isinstance(value, dict)
            and set(required) <= value.keys() <= parts_by_name.keys()
            and all(parts_by_name[name][1](item) for name, item in value.items())
        ),
    )


def either(one: Checked, other: Checked) -> Checked:
    return {"anyOf": [one[0], other[0]]}, lambda value: one[1](value) or other[1](value)


SCHEMAS = st.recursive(
    whole_numbers() | open_intervals() | texts() | choices(),
    lambda parts: lists_of(parts) | objects_of(parts) | st.builds(either, parts, parts),
    max_leaves=8,
)


@given(SCHEMAS)
@settings(max_examples=60, deadline=None)
def test_an_instance_fits_its_schema_also_where_it_is_referred_to(checked: Checked) -> None:
    schema, fits = checked
    there = {"$ref": "#/$defs/a~1b"}
    shape = {"type": "array", "prefixItems": [there, there], "minItems": 2, "maxItems": 2}

    assert fits(instance_of(schema))
    assert all(map(fits, instance_of({"$defs": {"a/b": schema}, **shape})))


def test_an_instance_fits_what_pydantic_says_of_its_types() -> None:
    record = Record.model_validate(instance_of(Record.model_json_schema()))

    assert record.code == "simulatedsim"
    assert record.anything == "simulated"


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        # Only what all parts accept.
        ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}, {"not_a_keyword": 1}]}, 2),
        # Exactly one branch may accept it.
        ({"oneOf": [{"type": "integer", "minimum": 5}, {"type": "integer"}]}, 0),
        # The properties it must count to are not required ones.
        ({"type": "object", "properties": {"a": {"type": "boolean"}}, "minProperties": 1}, {"a": False}),
        # The first branch never ends.
        ({"anyOf": [{"type": "array", "items": {"$ref": "#"}, "minItems": 1}, {"type": "null"}]}, None),
        # The whole multiples of 2/5 are the multiples of 2.
        ({"type": "integer", "minimum": 1, "multipleOf": 0.4}, 2),
        # What stands beside a reference counts too.
        ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 5}, 5),
    ],
)
def test_keywords_count_together(schema: Any, instance: Any) -> None:
    assert instance_of(schema) == instance


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 4}, "no value"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True}, "no value"),
        ({"type": "string", "pattern": "^[q]{3}$"}, "no value"),
        ({"if": {}, "then": {}}, "'if'"),
        ({"type": "text"}, "'text'"),
        ({"$ref": "https://example.com/schema"}, "leaves the schema"),
        ({"$ref": "#/$defs/none"}, "points at nothing"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "without end"),
        ({"type": "array", "minItems": 10**12}, "make it smaller"),
        ({"type": "string", "minLength": 10**12}, "make it smaller"),
        ({"type": "integer", "minimum": "3"}, "not a JSON schema"),
        ({"type": "integer", "multipleOf": "2"}, "not a JSON schema"),
        ({"type": "integer", "multipleOf": 0}, "not a JSON schema"),
        ({"type": "string", "pattern": "("}, "not a JSON schema"),
        ({"prefixItems": {"type": "null"}}, "not a JSON schema"),
        ([], "not a JSON schema"),
    ],
)
def test_a_schema_without_an_instance_is_refused_with_the_reason(schema: Any, said: str) -> None:
    with pytest.raises(NoInstance, match=said):
        instance_of(schema)


async def until(holds: Callable[[], bool]) -> None:
    """Let the server go on until something holds; there is no event to wait for on its side."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0)
