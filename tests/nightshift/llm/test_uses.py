"""Which model does which work, and that nothing costs more without anybody having said so."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import time_machine

from nightshift.base.errors import BadSetting
from nightshift.llm.prices import FREE, FlatPrice, is_dearer, listed_price
from nightshift.llm.settings import EndpointSettings, ModelSettings, Use, UseSettings
from nightshift.llm.uses import NamedModel, Uses, kind_of
from nightshift.settings import Settings, load_settings

CHEAP = {"price_in": Decimal(1), "price_out": Decimal(2)}
DEAR = {"price_in": Decimal(1), "price_out": Decimal(3)}
#: DeepSeek's chat costs half by night, as it is in China.
BY_DAY, BY_NIGHT = (datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (12, 19))


def uses(*, url: str | None = "http://127.0.0.1:9/v1", **models: dict[str, Any]) -> Uses:
    told: dict[Use, UseSettings] = {
        use: UseSettings.model_validate({"name": use} | models[use]) for use in get_args(Use) if use in models
    }
    return Uses(Settings.model_construct(model=ModelSettings(url=url, name="short"), models=told))


def names(found: Uses, use: Use) -> list[str]:
    return [model.name for model in found.chain(use).models]


# Who does what


def test_the_short_form_names_the_model_of_every_use_but_one() -> None:
    found = uses()

    assert [names(found, use) for use in get_args(Use)] == [["short"]] * 4 + [[]]


def test_what_is_not_set_falls_to_flash() -> None:
    found = uses(flash={"name": "quick"}, judge={"name": "wise"})

    assert [names(found, use) for use in ("flash", "chat", "extract", "judge")] == [
        ["quick"],
        ["quick"],
        ["quick"],
        ["wise"],
    ]


def test_limits_are_a_uses_own_or_the_ones_it_always_has() -> None:
    found = uses(flash={"max_output_tokens": 7, "deadline": 3})

    assert (found.chain("flash").max_output_tokens, found.chain("flash").deadline) == (
        7,
        timedelta(seconds=3),
    )
    assert (found.chain("chat").max_output_tokens, found.chain("chat").deadline.seconds) == (4096, 120)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"flash": {"endpoint": "nowhere"}}, "endpoint 'nowhere' is not set; those set: main"),
        ({"flash": {"price_in": Decimal(1)}}, "both price_in and price_out"),
        ({"flash": {"fallbacks": ("nonsense",)}}, "neither a use"),
        ({"flash": {"fallbacks": ("nowhere/m",)}}, "endpoint 'nowhere' is not set"),
        ({"flash": {"fallbacks": ("embed",)}}, "no model of the same sort"),
    ],
)
def test_what_contradicts_itself_is_refused_with_the_remedy(told: dict[str, Any], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        uses(**told)


def test_one_endpoint_is_not_described_twice() -> None:
    url = "http://127.0.0.1:9/v1"
    settings = Settings.model_construct(
        model=ModelSettings(url=url), endpoints={"main": EndpointSettings(url=url)}
    )
    with pytest.raises(BadSetting, match=r"both \[model\] and \[endpoints.main\]"):
        Uses(settings)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
        ("https://api.openai.com/v1", "openai"),
        ("http://box:11434/v1", "ollama"),
        ("http://openrouter.ai.evil.example/v1", "auto"),
    ],
)
def test_an_endpoint_is_told_by_its_url(url: str, kind: str) -> None:
    assert kind_of(EndpointSettings(url=url)) == kind
    assert kind_of(EndpointSettings(url=url, kind="vllm")) == "vllm"


# What it may cost


def test_a_fallback_that_costs_no_more_is_taken() -> None:
    found = uses(flash={"fallbacks": ("chat",), **DEAR}, chat={"name": "cheap", **CHEAP})

    assert names(found, "flash") == ["flash", "cheap"]
    assert names(found, "chat") == ["cheap"]


@pytest.mark.parametrize(
    ("fallback", "words"),
    [
        # Its tokens cost more in one of two ways.
        ({"name": "dear", **DEAR}, "dear at endpoint main may cost more than flash"),
        # Nobody knows.
        ({"name": "somebodys-own"}, "since nobody knows its price"),
    ],
)
def test_a_fallback_that_may_cost_more_is_refused_unless_that_is_allowed(
    fallback: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSetting, match=words):
        uses(flash={"fallbacks": ("chat",), **CHEAP}, chat=fallback)

    allowed = uses(flash={"fallbacks": ("chat",), "allow_dearer": True, **CHEAP}, chat=fallback)
    assert names(allowed, "flash") == ["flash", fallback["name"]]


def test_settings_with_a_dearer_fallback_do_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith("NIGHTSHIFT_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_ENDPOINTS__MAIN__KEY", "sk-canary")
    file = tmp_path / "nightshift.toml"
    told = """
        [endpoints.main]
        url = "https://openrouter.ai/api/v1"
        [models.flash]
        name = "google/gemini-2.5-flash-lite"
        fallbacks = ["main/anthropic/claude-sonnet-4"]
    """
    file.write_text(told)
    with pytest.raises(BadSetting, match="claude-sonnet-4 at endpoint main may cost more") as raised:
        load_settings()
    assert "sk-canary" not in str(raised.value)

    file.write_text(told + "allow_dearer = true")
    settings = load_settings()
    key = settings.all_endpoints["main"].key
    assert key
    assert key.get_secret_value() == "sk-canary"
    assert "sk-canary" not in repr(settings)


def test_prices_are_listed_own_or_nothing() -> None:
    listed = listed_price("gemini-2.5-flash", "gemini", BY_DAY)
    assert listed
    # 0.30 and 2.50 dollars a million in the list that is shipped; rounded up to whole micro-dollars.
    assert listed.cost(1_000, 100) == 550
    assert listed.cost(1, 0) == 1
    assert listed.cost(1_000, 0, 1_000) < listed.cost(1_000, 0)
    assert listed_price("llama3.2", "ollama", BY_DAY) is FREE
    assert listed_price("flash-simulated", "auto", BY_DAY) == FlatPrice(Decimal(1), Decimal(3))
    assert listed_price("somebodys-own", "auto", BY_DAY) is None


def test_a_price_is_the_one_of_the_hour() -> None:
    costs = []
    for at in (BY_NIGHT, BY_DAY, BY_NIGHT):
        with time_machine.travel(at, tick=False):
            price = NamedModel("deepseek-chat", "main").price
            assert price
            costs.append(price.cost(1_000_000, 1_000_000))

    assert costs == [685_000, 1_370_000, 685_000]


def test_what_costs_less_by_night_alone_is_no_cheaper_fallback() -> None:
    between = {"price_in": Decimal("0.2"), "price_out": Decimal(1)}
    with (
        time_machine.travel(BY_NIGHT, tick=False),
        pytest.raises(BadSetting, match="deepseek-chat at endpoint main may cost more"),
    ):
        uses(flash={"fallbacks": ("chat",), **between}, chat={"name": "deepseek-chat"})


def test_what_an_answer_costs_may_be_nothing() -> None:
    price = uses(flash={"price_in": Decimal(3), "price_out": Decimal(0)}).chain("flash").models[0].price
    assert price == FlatPrice(Decimal(3), Decimal(0))
    alone = uses(embed={"price_in": Decimal(3)}).chain("embed").models[0].price
    assert alone == FlatPrice(Decimal(3), Decimal(3))


def test_dearer_is_whatever_may_be() -> None:
    one, other = FlatPrice(Decimal(1), Decimal(2)), FlatPrice(Decimal("0.9"), Decimal("2.1"))
    assert is_dearer(one, other)
    assert is_dearer(other, one)
    assert not is_dearer(one, one)
    assert is_dearer(None, one)
    assert not is_dearer(one, None)
    assert not is_dearer(FREE, one)
