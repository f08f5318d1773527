from __future__ import annotations

from datetime import timedelta

import pytest

from nightshift.errors import BadSetting, Overloaded, RateLimited
from nightshift.llm.probe import Refused, ask_whether_it_answers
from nightshift.llm.simulated import SimulatedModelOptions, simulated_model
from nightshift.settings import ModelSettings


async def test_the_probe_counts_what_its_question_cost() -> None:
    async with simulated_model(SimulatedModelOptions()) as model:
        answer = await ask_whether_it_answers(ModelSettings(url=model.url, name="flash-simulated"))
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
            await ask_whether_it_answers(ModelSettings(url=model.url, name=name))
        if isinstance(raised.value, RateLimited):
            assert raised.value.retry_after == timedelta(seconds=7)


async def test_no_model_at_all_names_the_setting() -> None:
    with pytest.raises(BadSetting, match="NIGHTSHIFT_MODEL__URL"):
        await ask_whether_it_answers(ModelSettings())
