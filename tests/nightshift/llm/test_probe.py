from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import openai
import pytest

from nightshift.errors import BadSetting, Overloaded, RateLimited
from nightshift.llm.probe import Answer, Refused, ask_whether_it_answers, model_part
from nightshift.llm.simulated import (
    Fault,
    FaultRule,
    SimulatedModel,
    SimulatedModelOptions,
    simulated_model,
)
from nightshift.parts import Parts
from nightshift.settings import ModelSettings


async def ask(settings: ModelSettings) -> Answer:
    """Ask once, with a client that is closed afterwards."""
    parts = Parts(model_part(settings))
    try:
        return await ask_whether_it_answers(settings, parts)
    finally:
        await parts.close()


async def test_the_probe_counts_what_its_question_cost() -> None:
    async with simulated_model(SimulatedModelOptions()) as model:
        answer = await ask(ModelSettings(url=model.url, name="flash-simulated"))
        assert answer.tokens > 0
        assert answer.micro_usd == model.total.cost_micro_usd


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("429; retry-after=7", RateLimited, "flash"),
        ("401", Refused, "NIGHTSHIFT_MODEL__KEY"),
        ("402", Refused, "402"),
        ("503", Overloaded, "503"),
        ("reset", Overloaded, "does not answer"),
    ],
)
async def test_each_refusal_is_told_apart(fault: str, error: type[Exception], words: str) -> None:
    async with simulated_model(SimulatedModelOptions()) as model:
        name = "flash-simulated?fault=" + fault.replace("; ", "&").replace("retry-after", "retry_after")
        with pytest.raises(error, match=words) as raised:
            await ask(ModelSettings(url=model.url, name=name))
        if isinstance(raised.value, RateLimited):
            assert raised.value.retry_after == timedelta(seconds=7)


async def test_no_model_at_all_names_the_setting() -> None:
    with pytest.raises(BadSetting, match="NIGHTSHIFT_MODEL__URL"):
        await ask(ModelSettings())


# The client as a part


@pytest.fixture
async def parts(model: SimulatedModel) -> AsyncIterator[Parts]:
    parts = Parts(model_part(ModelSettings(url=model.url, name="flash-simulated")))
    yield parts
    await parts.close()


async def test_the_client_is_kept_and_a_ping_costs_nothing(model: SimulatedModel, parts: Parts) -> None:
    settings = ModelSettings(url=model.url, name="flash-simulated")
    for _ in range(2):
        await ask_whether_it_answers(settings, parts)
    paid = model.total.cost_micro_usd
    async with parts.use("model") as client:
        await parts.look_after()
        async with parts.use("model") as same:
            assert same is client
    assert [row.calls for (_, path), row in model.requests.items() if path == "/v1/models"] == [1]
    assert model.total.cost_micro_usd == paid
    assert parts.report()[0]["alive"]


@pytest.mark.parametrize("status", ["401", "429", "500"])
async def test_an_endpoint_that_answers_a_ping_with_a_refusal_is_alive(
    model: SimulatedModel, parts: Parts, status: str
) -> None:
    async with parts.use("model"):
        pass
    model.set_faults(FaultRule(Fault(status)))
    await parts.look_after()
    assert parts.report()[0]["alive"]


async def test_an_endpoint_that_lists_no_models_is_alive(model: SimulatedModel) -> None:
    parts = Parts(model_part(ModelSettings(url=f"{model.origin}/elsewhere")))
    async with parts.use("model") as client:
        with pytest.raises(openai.NotFoundError):
            await client.models.list()
    await parts.look_after()
    assert parts.report()[0]["alive"]
    await parts.close()


async def test_an_endpoint_that_is_gone_is_a_crash() -> None:
    async with simulated_model() as model:
        parts = Parts(model_part(ModelSettings(url=model.url)))
        async with parts.use("model"):
            pass
    await parts.look_after()
    (told,) = parts.report()
    assert (told["alive"], told["crashes"]) == (False, 1)
    assert "Connection" in told["why"]


async def test_a_lost_connection_gives_the_next_question_a_new_client(
    model: SimulatedModel, parts: Parts
) -> None:
    settings = ModelSettings(url=model.url, name="flash-simulated")
    async with parts.use("model") as first:
        pass
    with pytest.raises(Overloaded):
        await ask_whether_it_answers(
            settings.model_copy(update={"name": "flash-simulated?fault=reset"}), parts
        )
    await ask_whether_it_answers(settings, parts)
    async with parts.use("model") as second:
        assert second is not first
    assert first.is_closed()
