"""Prompts are files with versions, and what they are about is data that cannot pass for instructions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.base.errors import NotPossible
from nightshift.llm.prompts import Prompt, PromptMessage, load, whole_text


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with prompts in it."""
    folder = tmp_path / "prompts_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for version, text in ((2, "two\n"), (10, "Decide.\n"), (9, "nine")):
        (folder / f"think.v{version}.md").write_text(text)
    (folder / "think.vX.md").write_text("no version")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_the_highest_version_counts(package: str) -> None:
    assert load(package, "think") == Prompt("Decide.", "think.v10")


def test_a_prompt_that_is_not_there_says_where_to_put_it(package: str) -> None:
    with pytest.raises(NotPossible, match=r"speak\.v1\.md"):
        load(package, "speak")


@given(st.text(alphabet=st.characters(categories=None) | st.sampled_from("`\n\\\"'{}")))
def test_whatever_people_write_stays_inside_its_block(text: str) -> None:
    system, user = Prompt("Decide.", "think.v1").about(messages=[{"text": text}], channel="lobby")

    assert system == PromptMessage("system", "Decide.")
    blocks = re.fullmatch(r"messages:\n```json\n([^\n]*)\n```\n\nchannel:\n```json\n([^\n]*)\n```", user.text)
    assert blocks
    assert "`" not in blocks[1]
    assert json.loads(blocks[1]) == [{"text": whole_text(text)}]


@given(st.text(alphabet=st.characters(categories=None)))
def test_any_text_can_be_sent_once_it_is_whole(text: str) -> None:
    whole = PromptMessage("user", text).text

    whole.encode()
    assert whole_text(whole) == whole
    assert "\ufffd" in whole or whole == text or "\ud800" <= max(text) <= "\udfff"
