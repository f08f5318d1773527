"""The keys that were stored are the keys that `Keys` names, all of them."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence

import pytest

from nightshift.store.keys import Keys
from tests.stored.conftest import GRAPHS, lines_of
from tests.stored.dump import read_lines

ANYTHING = "ANYTHING"
#: What the stored one does not show, and why.
NOT_STORED = {
    "graphs": "the beginning of the graphs' names; those of messages are there",
    "broker_prefix": "of the keys in the broker, which is another database",
    "poke": "a channel of Redis, on which nothing is kept",
}


def names_of(keys: Keys) -> Mapping[str, str]:
    """Every name that these keys can give, by what it is called; what varies in it is ANYTHING."""
    names = {}
    for called, _ in inspect.getmembers(Keys, lambda each: isinstance(each, property) or callable(each)):
        if called.startswith("_") or called == "root":
            continue
        value = getattr(keys, called)
        if callable(value):
            value = value(*(ANYTHING for _ in inspect.signature(value).parameters))
        # What ends like this is where names of somebody else's begin.
        names[called] = f"{value}{ANYTHING}" if value.endswith(":") else value
    return names


@pytest.fixture(scope="module")
def called(stored: Sequence[str]) -> Mapping[str, str | None]:
    """Each key that was stored, and what `Keys` calls it: the closest of its names that fit."""
    found = [*read_lines(stored), *(json.loads(lines_of(f"graph-{each}")[0])["graph"] for each in GRAPHS)]
    names = names_of(Keys())
    patterns = {each: re.compile(re.escape(name).replace(ANYTHING, ".+")) for each, name in names.items()}

    def closest(key: str) -> str | None:
        fitting = [each for each, pattern in patterns.items() if pattern.fullmatch(key)]
        return max(fitting, key=lambda each: len(names[each].replace(ANYTHING, "")), default=None)

    return {key: closest(key) for key in found}


def test_no_key_that_was_stored_is_unknown(called: Mapping[str, str | None]) -> None:
    assert len(called) == 433
    assert [key for key, name in called.items() if name is None] == []


def test_every_key_there_is_was_stored_but_for_those_of_which_is_said_why(
    called: Mapping[str, str | None],
) -> None:
    assert names_of(Keys()).keys() - set(called.values()) == NOT_STORED.keys()
