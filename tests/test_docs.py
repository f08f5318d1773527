"""What the documents name is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nightshift.jobs.settings import JobOverride
from nightshift.settings import Settings

CHECKOUT = Path(__file__).parent.parent
PAGES = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md"), *(CHECKOUT / "bench").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_settings_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"NIGHTSHIFT_([A-Z_]+?)(?:__[A-Z]+)*\b", page.read_text())
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_examples_of_nightshift_toml_are_read() -> None:
    text = (CHECKOUT / "docs" / "how-to" / "jobs.md").read_text()
    examples = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.S)]
    overrides = [override for example in examples for override in example.get("jobs", {}).values()]
    assert [JobOverride.model_validate(override) for override in overrides]
