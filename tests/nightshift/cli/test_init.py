"""Setting nightshift up by options alone, and by questions."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nightshift.cli import init
from nightshift.cli.app import app
from nightshift.machine.credentials import bots_tokens
from nightshift.settings import load_settings

KEY, TOKEN = "sk-canary-1", "discord-canary-2"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return tmp_path / "home"


FULL = (
    *("--model-url", "https://models.example/v1", "--model", "small", "--key-file", "key"),
    *("--platform", "discord", "--token-file", "token", "--agent", "ann"),
    *("--zone", "Europe/Berlin", "--cap", "2.5", "--live"),
)


def nightshift(*words: str, answers: str = "") -> Result:
    return CliRunner().invoke(app, words, input=answers, prog_name="nightshift")


def test_options_alone_set_everything_up_and_no_secret_is_in_the_settings(home: Path) -> None:
    result = nightshift("init", *FULL)
    assert result.exit_code == 0, result.output
    settings = load_settings()
    assert settings.endpoints["main"].url == "https://models.example/v1"
    assert settings.models["flash"].name == "small"
    assert (settings.shadow, settings.budget.day) == (False, Decimal("2.5"))
    assert (settings.agents["ann"].zone, settings.agents["ann"].delivers) == ("Europe/Berlin", "us")
    assert settings.platforms["discord"].agent == "ann"
    assert not settings.demo
    keys_file, token_file = settings.endpoints["main"].keys_file, settings.platforms["discord"].token_file
    assert keys_file
    assert token_file
    assert (keys_file.read_text(), token_file.read_text()) == (KEY, TOKEN)
    assert set(bots_tokens(home)) == {"ann"}
    text = (home / "nightshift.toml").read_text() + result.output
    assert all(secret not in text for secret in (KEY, TOKEN, *bots_tokens(home).values()))
    for path in (home / "secrets", *(home / "secrets").iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    assert f"NIGHT_TOKEN=$(cat {home}/secrets/bot-ann)" in result.output


def test_unless_said_otherwise_nothing_is_sent_and_a_dollar_is_all_that_is_spent(home: Path) -> None:
    result = nightshift("init")
    assert result.exit_code == 0, result.output
    settings = load_settings()
    assert (settings.shadow, settings.budget.day) == (True, Decimal(1))
    assert (settings.agents["default"].delivers, settings.platforms) == ("bot", {})
    assert not settings.has_model
    assert "Shadow mode is on" in result.output


def test_a_dry_run_shows_the_settings_and_writes_nothing(home: Path) -> None:
    result = nightshift("init", *FULL, "--print")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["budget"] == {"day": 2.5}
    assert KEY not in result.stdout
    assert not home.exists()


def test_what_is_set_up_is_not_replaced_unless_asked_to(home: Path) -> None:
    nightshift("init", "--cap", "2")
    refused = nightshift("init", "--cap", "3")
    assert (refused.exit_code, load_settings().budget.day) == (1, Decimal(2))
    assert "is there already; edit it, or --force replaces it" in refused.output
    token = bots_tokens(home)
    assert nightshift("init", "--cap", "3", "--force").exit_code == 0
    assert load_settings().budget.day == 3
    assert bots_tokens(home) == token  # a bot that has it keeps it


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--platform", "irc"), "'--platform': 'irc' is none of discord, matrix"),
        (("--platform", "discord"), "--token-file is missing, and there is nobody to ask"),
        (("--model-url", "https://models.example"), "--model is missing"),
        (("--model-url", "not a url", "--model", "m"), "'--model-url': that is no address; write https://"),
        (("--model-url", "https://models.example", "--model", ""), "'--model': '' is no model's name"),
        (("--platform-url", "http://"), "'--platform-url': that is no address"),
        (("--zone", "Europe/Berln"), "'--zone': time zone 'Europe/Berln' is not known; did you mean"),
        (("--agent", "Ann!"), "'--agent': 'Ann!' is no agent's name"),
        (("--cap", "abc"), "'--cap': 'abc' is no sum in dollars"),
        (("--cap", "1000000001"), "'--cap': $1000000001 is no cap"),
        (("--platform", "discord", "--token-file", "gone"), "'--token-file': gone cannot be read: No such"),
        (("--key-file", "empty"), "'--key-file': empty is empty"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(home: Path, words: tuple[str, ...], told: str) -> None:
    Path("empty").touch()
    result = nightshift("init", *words)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert "setting '" not in result.output
    assert not home.exists()


def test_a_person_is_asked_and_what_is_secret_is_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "_is_asked", lambda: True)
    said = ["https://models.example/v1", "small", KEY, "matrix", "https://matrix.example", TOKEN]
    result = nightshift("init", answers="\n".join([*said, "", "UTC", "", ""]) + "\n")
    assert result.exit_code == 0, result.output
    settings = load_settings()
    assert settings.platforms["matrix"].url == "https://matrix.example"
    assert (settings.shadow, settings.agents["default"].zone) == (True, "UTC")
    assert KEY not in result.output
    assert TOKEN not in result.output


def test_an_answer_that_makes_no_sense_is_told_why_and_asked_for_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "_is_asked", lambda: True)
    said = [
        ("models.example", "that is no address"),
        ("https://models.example/v1", ""),
        ("x" * 201, "is no model's name"),
        ("small", ""),
        (KEY, ""),
        ("irc", "'irc' is none of discord, matrix"),
        ("matrix", ""),
        ("matrix.example", "that is no address"),
        ("https://matrix.example", ""),
        ("", ""),  # there has to be a token, so it is asked for again
        (TOKEN, ""),
        ("Ann!", "'Ann!' is no agent's name"),
        ("ann", ""),
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("Europe/Berlin", ""),
        ("abc", "'abc' is no sum in dollars"),
        ("none", ""),
        ("n", ""),
    ]
    result = nightshift("init", answers="".join(f"{answer}\n" for answer, _ in said))
    assert result.exit_code == 0, result.output
    told = [line for line in result.output.splitlines() if "Error: " in line]
    reasons = [reason for _, reason in said if reason]
    assert all(reason in line for reason, line in zip(reasons, told, strict=True)), told
    settings = load_settings()
    assert (settings.budget.day, settings.shadow, settings.agents["ann"].zone) == (
        None,
        False,
        "Europe/Berlin",
    )
    assert (settings.models["flash"].name, settings.platforms["matrix"].url) == (
        "small",
        "https://matrix.example",
    )


def test_whose_bot_speaks_itself_is_told_where_that_is_described(home: Path) -> None:
    assert "see `speak` in docs/adopt.md, step 3" in nightshift("init").output
    assert "`speak`" not in nightshift("init", *FULL, "--force").output
    assert "nightshift doctor" not in (home / "nightshift.toml").read_text()
