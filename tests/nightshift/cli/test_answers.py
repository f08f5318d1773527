"""What is shown to people stays what it is, however narrow their terminal."""

from __future__ import annotations

import sys

import pytest

from nightshift.cli.answers import show_table
from tests.nightshift.cli.conftest import Cli, Stage

#: Rich would draw a heart, set in bold and look up a picture.
ID = "deliver:heartbeat:local:lounge%5Bbold%5D[red]:smile:@2026-11-20T12:00:00Z"


async def test_ids_stay_as_they_are_wherever_they_are_shown(cli: Cli, stage: Stage) -> None:
    run = await stage.run("deliver:heartbeat:local:[b]lounge[/b]")
    for words in (
        ("runs",),
        ("runs", "show", run),
        ("runs", "--follow", "--since", "1h", "--limit", "1"),
        ("runs", "cancel", run),
    ):
        assert run in (await cli(*words)).stdout, words


def show(capsys: pytest.CaptureFixture[str], *rows: tuple[str, ...]) -> str:
    show_table(("channel", "run", "text"), rows)
    return capsys.readouterr().out


def test_a_narrow_terminal_breaks_words_but_no_id(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    shown = show(capsys, ("local:lounge", ID, f"nothing new{'!' * 60}"))
    assert f"local:lounge  {ID}  nothing" in shown
    assert shown.count("!") == 60, "and yet all is shown"


def test_what_is_no_terminal_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "why " * 300
    _, line = show(capsys, ("local:lounge", ID, reason)).splitlines()
    assert line == f"local:lounge  {ID}  {reason}"
