from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

import nightshift
from nightshift.base.errors import BadSetting
from nightshift.base.home import CHECKOUT
from nightshift.cli.app import app
from nightshift.cli.words import duration
from tests.nightshift.cli.conftest import Cli

MAIN = "from nightshift.cli.__main__ import main; main()"


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60)


async def test_the_version_is_told(cli: Cli) -> None:
    result = await cli("--version")
    assert (result.exit_code, result.stdout) == (0, f"nightshift {nightshift.__version__}\n")


async def test_help_says_what_exit_codes_mean(cli: Cli) -> None:
    told = (await cli("--help")).stdout
    assert "3 the state store cannot be" in told
    for command in ("up", "status", "doctor", "jobs", "runs", "why", "dead", "switches", "worker", "sim-llm"):
        assert f"  {command} " in told


def every_help() -> Iterator[str]:
    """What each command says of itself."""
    open = [get_command(app)]
    paths: list[tuple[str, ...]] = [()]
    while open:
        command, path = open.pop(), paths.pop()
        yield CliRunner().invoke(app, [*path, "--help"], prog_name="nightshift").output
        for name, below in getattr(command, "commands", {}).items():
            open.append(below)
            paths.append((*path, name))


def test_help_names_what_people_type_and_not_the_types_of_python() -> None:
    told = list(every_help())
    assert len(told) > 40
    for each in told:
        assert not re.search(r"<(str|int|float|list|\w+[|>])", each), each
        assert "[ID]...  Failed runs." in each or "dead replay" not in each
        assert "-h, --help" in each


def test_what_takes_time_is_not_imported_before_it_is_needed() -> None:
    slow = {"redis", "pydantic", "rich.table", "celery", "aiohttp", "openai", "structlog", "psutil"}
    found = python("-c", f"import nightshift.cli.app, sys; print({slow} & set(sys.modules))")
    assert found.stdout == "set()\n", found.stderr


def test_without_the_server_extra_one_line_says_what_to_install() -> None:
    found = python("-I", "-S", "-c", f"import sys; sys.path.append({str(CHECKOUT)!r}); {MAIN}")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "The command line needs the server extra: pip install 'nightshift[server]'\n"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("NIGHTSHIFT_REDIS_PROT", "1", "did you mean NIGHTSHIFT_REDIS_PORT?"),
        ("NIGHTSHIFT_CONCURRENCY", "none", "setting 'concurrency' (it is 'none')"),
        ("NIGHTSHIFT_STATE_URL", "redis://:pass/word@here", "a server's URL is none of redis://"),
        ("NIGHTSHIFT_SETTINGS_FILE", "/nowhere.toml", "there is no file /nowhere.toml"),
    ],
)
async def test_a_wrong_setting_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = await cli("status")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert told in result.stderr
    assert "word" not in result.stderr

    with_trace = await cli("--debug", "status")
    assert isinstance(with_trace.exception, BadSetting)


async def test_wrong_use_is_told_in_a_few_lines(cli: Cli) -> None:
    result = await cli("jobs", "run")
    assert result.exit_code == 2
    assert "Missing argument 'NAME'" in result.stderr
    assert result.stderr.count("\n") <= 4


def test_a_bug_is_told_in_one_line_unless_asked_for_more() -> None:
    broken = f"import nightshift.status.doctor; nightshift.status.doctor.examine = None; {MAIN}"
    in_short = python("-c", broken, "doctor")
    assert (in_short.returncode, in_short.stderr.count("\n")) == (1, 1)
    assert "TypeError" in in_short.stderr
    assert "Traceback" in python("-c", broken, "--debug", "doctor").stderr


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("200ms", timedelta(milliseconds=200)),
        ("1.5h", timedelta(minutes=90)),
        ("15 min", timedelta(minutes=15)),
        ("3d", timedelta(days=3)),
        ("50", timedelta(seconds=50)),
    ],
)
def test_durations_are_read_with_their_unit(text: str, meant: timedelta) -> None:
    assert duration(text) == meant


@pytest.mark.parametrize("text", ["", "-1h", "1y", "1e9s", "nan s"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"'{text}' is no duration"):
        duration(text)


def test_a_role_that_does_not_exist_is_refused_with_those_that_do() -> None:
    found = python("-m", "nightshift.cli", "worker", "--role", "nobody")
    assert found.returncode == 2
    assert "'nobody'" in found.stderr
    assert all(role in found.stderr for role in ("control", "agents", "upkeep", "graph", "io", "all"))
