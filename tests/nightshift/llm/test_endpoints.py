"""An endpoint's client as a part: kept, looked after for nothing, and started anew when found broken."""

from __future__ import annotations

import openai
import pytest

from nightshift.demo.model import Fault, FaultRule, SimulatedModel, simulated_model
from nightshift.llm.endpoints import endpoint_resource, key_sources
from nightshift.llm.settings import EndpointSettings, ModelSettings
from nightshift.processes.resources import Resources
from nightshift.settings import Settings


def parts_at(url: str) -> Resources:
    return Resources(endpoint_resource("main", EndpointSettings(url=url)))


async def test_the_client_is_kept_and_a_ping_costs_nothing(model: SimulatedModel) -> None:
    parts = parts_at(model.url)
    async with parts.use("model") as client:
        await parts.look_after()
        async with parts.use("model") as same:
            assert same is client
    assert [row.calls for (_, path), row in model.requests.items() if path == "/v1/models"] == [1]
    assert model.total.cost_micro_usd == 0
    assert parts.report()[0]["alive"]
    await parts.close()
    assert client.is_closed()


@pytest.mark.parametrize("status", ["401", "429", "500"])
async def test_an_endpoint_that_answers_a_ping_with_a_refusal_is_alive(
    model: SimulatedModel, status: str
) -> None:
    parts = parts_at(model.url)
    async with parts.use("model"):
        pass
    model.set_faults(FaultRule(Fault(status)))
    await parts.look_after()
    assert parts.report()[0]["alive"]
    await parts.close()


async def test_an_endpoint_that_lists_no_models_is_alive(model: SimulatedModel) -> None:
    parts = parts_at(f"{model.origin}/elsewhere")
    async with parts.use("model") as client:
        with pytest.raises(openai.NotFoundError):
            await client.models.list()
    await parts.look_after()
    assert parts.report()[0]["alive"]
    await parts.close()


async def test_an_endpoint_that_is_gone_is_a_crash() -> None:
    async with simulated_model() as model:
        parts = parts_at(model.url)
        async with parts.use("model"):
            pass
    await parts.look_after()
    (told,) = parts.report()
    assert (told["alive"], told["crashes"]) == (False, 1)
    assert "Connection" in told["why"]


def test_endpoints_beside_the_main_one_are_parts_of_their_own() -> None:
    endpoint = EndpointSettings(url="http://127.0.0.1:9/v1")
    names = [
        each["name"]
        for each in Resources(*(endpoint_resource(n, endpoint) for n in ("main", "local"))).report()
    ]
    assert names == ["model", "model:local"]


def test_only_endpoints_that_ask_for_keys_have_a_source_of_them() -> None:
    settings = Settings.model_construct(
        model=ModelSettings.model_validate({"url": "http://127.0.0.1:9/v1", "key": " sk-1\n"}),
        endpoints={"local": EndpointSettings(url="http://127.0.0.1:8/v1")},
    )
    assert {name: read() for name, read in key_sources(settings).items()} == {"main": ["sk-1"]}
