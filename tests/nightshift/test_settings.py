"""What the deployment is told: where from, in which order, and what is said when it is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from nightshift.base.errors import BadSetting
from nightshift.base.home import simulated_model
from nightshift.money.payer import Level
from nightshift.settings import load_settings

SECRET = "hunter2"
Write = Callable[[str], None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a working directory beside it, and no settings from outside."""
    for variable in os.environ:
        if variable.startswith("NIGHTSHIFT_"):
            monkeypatch.delenv(variable)
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(home))
    monkeypatch.chdir(here)
    return home


@pytest.fixture
def write(home: Path) -> Write:
    def write(text: str) -> None:
        (home / "nightshift.toml").write_text(text)

    return write


# Where from


def test_the_environment_counts_before_the_file_at_home_and_that_before_the_file_here(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("nightshift.toml").write_text("concurrency = 3\nretention_done_days = 3")
    assert load_settings().concurrency == 3

    write("concurrency = 2")
    assert load_settings().concurrency == 2
    assert load_settings().retention_done_days == 14  # files are not mixed

    monkeypatch.setenv("NIGHTSHIFT_CONCURRENCY", "1")
    assert load_settings().concurrency == 1


def test_the_model_that_up_simulates_is_known_in_its_home_unless_there_is_another(
    home: Path, write: Write
) -> None:
    assert not load_settings().has_model
    file = simulated_model(home)
    file.parent.mkdir()
    file.write_text("http://127.0.0.1:1/v1")
    found = load_settings()
    assert (found.model.url, found.has_model, found.simulated) == ("http://127.0.0.1:1/v1", True, True)

    write('[model]\nurl = "https://openrouter.ai/api/v1"')
    own = load_settings()
    assert (own.model.url, own.simulated) == ("https://openrouter.ai/api/v1", False)


def test_home_is_absolute_however_it_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, found in (("~/home", tmp_path / "home"), ("../home", Path.cwd() / "../home")):
        monkeypatch.setenv("NIGHTSHIFT_HOME", given)

        assert load_settings().home == found


def test_tables_of_the_file_reach_jobs_the_model_and_celery(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_MODEL__NAME", "flash")
    write('[model]\nurl = "http://127.0.0.1:9"\n[jobs.tidy]\nevery = 60\n[celery]\nredbeat_lock_timeout = 4')

    settings = load_settings()

    assert (settings.model.url, settings.model.name) == ("http://127.0.0.1:9", "flash")
    assert settings.jobs["tidy"].every == 60
    assert settings.celery == {"redbeat_lock_timeout": 4}


def test_caps_come_from_the_file_and_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_BUDGET__DAY", "none")
    write('[budget]\nchannel = 0.1\n[budget.only.channel]\n"discord:42" = 0.5')

    budget = load_settings().budget

    assert (budget.day, budget.channel) == (None, Decimal("0.1"))
    assert budget.only == {Level.CHANNEL: {"discord:42": Decimal("0.5")}}


# The demo


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No checkout and no home that anybody named; returns the home that would be our own."""
    monkeypatch.delenv("NIGHTSHIFT_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("nightshift.base.home.CHECKOUT", tmp_path / "none")
    return tmp_path / ".nightshift"


def test_until_somebody_sets_nightshift_up_everything_lives_in_a_home_apart(nowhere: Path) -> None:
    settings = load_settings()
    assert (settings.home, settings.demo) == (nowhere.with_name(".nightshift-demo"), True)
    assert settings.heartbeat.interval.total_seconds() == 90
    assert settings.agents["default"].quiet_from == settings.agents["default"].quiet_until


@pytest.mark.parametrize(
    "variable",
    ["NIGHTSHIFT_MODEL__URL", "NIGHTSHIFT_STATE_URL", "NIGHTSHIFT_HOME", "a file at home", "a file here"],
)
def test_whoever_sets_it_up_in_whatever_way_has_a_home_of_their_own(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    match variable:
        case "a file at home":
            nowhere.mkdir()
            (nowhere / "nightshift.toml").touch()
        case "a file here":
            Path("nightshift.toml").touch()
        case "NIGHTSHIFT_HOME":
            monkeypatch.setenv(variable, str(nowhere))
        case _:
            monkeypatch.setenv(variable, "http://127.0.0.1:9")
    settings = load_settings()
    assert (settings.home, settings.demo) == (nowhere, False)
    assert settings.heartbeat.interval.total_seconds() == 1800


# What is wrong


def test_a_file_that_cannot_be_read_is_named_by_its_path(write: Write, home: Path) -> None:
    write("concurrency = ")
    with pytest.raises(BadSetting, match=f"^{home}/nightshift.toml is not valid TOML: "):
        load_settings()


def test_words_of_ours_are_told_without_what_pydantic_puts_before_them(write: Write) -> None:
    write('[agents.ann]\nzone = "Europe/Berln"\n[platforms.x]\nkind = "discord"')
    with pytest.raises(BadSetting) as refused:
        load_settings()
    assert "Value error" not in str(refused.value)
    assert "'Europe/Berln'): time zone 'Europe/Berln' is not known" in str(refused.value)
    assert "setting 'platforms.x': discord needs token or token_file" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("concurency = 3", "setting 'concurency' is not known; did you mean 'concurrency'?"),
        ("[jobs.tidy]\nevry = 3", "setting 'jobs.tidy.evry' is not known; did you mean 'every'?"),
        ("[model]\nulr = 'x'", "setting 'model.ulr' is not known; did you mean 'url'?"),
        ("zzz = 1", "setting 'zzz' is not known; known ones: agents, allow_eviction, "),
        ("concurrency = 0", "setting 'concurrency' (it is 0): "),  # too small
        ("concurrency = 0", "set it in nightshift.toml or as NIGHTSHIFT_CONCURRENCY"),
        ("key_root = 'ns:{1}'", "setting 'key_root': 'ns:{1}' begins no key; use up to 32 letters, digits, "),
        ("[budget]\ndya = 1", "setting 'budget.dya' is not known; did you mean 'day'?"),
        ("[budget]\nday = -1", "setting 'budget.day' (it is -1): "),
        ("[budget.only.galaxy]\nx = 1", "Input should be 'run', 'source', "),
        ("[jobs.tidy]\nlate = 'later'", "setting 'jobs.tidy.late' (it is 'later'): "),
        (
            "[agents.night]\n[platforms.here]\nkind = 'local'\nagent = 'nigth'",
            "setting 'platforms.here.agent': no agent is called 'nigth'; there are default, night, and ",
        ),
        ("concurrency = ", "nightshift.toml is not valid TOML: "),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_the_remedy(write: Write, text: str, said: str) -> None:
    write(text)

    with pytest.raises(BadSetting) as refused:
        load_settings()

    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("NIGHTSHIFT_STATE_ULR", "NIGHTSHIFT_STATE_ULR is not a setting; did you mean NIGHTSHIFT_STATE_URL?"),
        ("NIGHTSHIFT_MODEL__KEI", "setting 'model.kei' is not known; did you mean 'key'?"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_real_one(
    monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    monkeypatch.setenv(variable, SECRET)

    with pytest.raises(BadSetting) as refused:
        load_settings()

    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        f'state_url = ["redis://:{SECRET}@127.0.0.1/0"]',  # a list where a text belongs
        f'broker_url = {{ url = "{SECRET}" }}',  # a table where a text belongs
        f'[model]\nkey = ["{SECRET}"]',
        f'[model]\npassword = "{SECRET}"',  # a name that does not exist
        f'password = "{SECRET}"',
        f'state_url = "{SECRET}',  # not closed
    ],
)
def test_a_secret_in_the_wrong_place_is_never_repeated(write: Write, text: str) -> None:
    write(text)

    with pytest.raises(BadSetting) as refused:
        load_settings()

    assert SECRET not in str(refused.value)


def test_secrets_are_not_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_URL", "BROKER_URL", "GRAPH_URL", "MODEL__KEY"):
        monkeypatch.setenv(f"NIGHTSHIFT_{name}", f"redis://:{SECRET}@127.0.0.1/0")

    settings = load_settings()

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
    assert settings.model.key is not None
    assert SECRET in settings.model.key.get_secret_value()


def test_one_variable_for_several_settings_is_refused_with_how_to_set_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_MODEL", "sk-secret")
    with pytest.raises(BadSetting, match="NIGHTSHIFT_MODEL__URL") as refused:
        load_settings()
    assert "sk-secret" not in str(refused.value)


def test_what_kubernetes_says_of_services_is_no_typo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_REDIS_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("NIGHTSHIFT_WEB_PORT_8080_TCP_ADDR", "10.0.0.8")
    load_settings()


def test_a_variable_like_no_setting_gets_the_list_and_no_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_ZZZ", "1")
    with pytest.raises(BadSetting, match="known ones"):
        load_settings()
