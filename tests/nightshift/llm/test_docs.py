"""The examples of settings in docs/how-to/models.md work; its code is run by ``tests/examples``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nightshift.base.home import CHECKOUT
from nightshift.llm.uses import Uses
from nightshift.settings import load_settings

PAGE = (CHECKOUT / "docs" / "how-to" / "models.md").read_text()


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", examples("toml"))
def test_examples_of_settings_name_a_model_for_each_use(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in os.environ:
        if variable.startswith("NIGHTSHIFT_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    (tmp_path / "nightshift.toml").write_text(example)

    found = Uses(load_settings())

    assert all(found.chain(use).models for use in ("flash", "chat", "extract", "judge"))
