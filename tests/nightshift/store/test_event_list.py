"""Whatever is told is listed, whatever is listed is told, and the page about it is up to date."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from nightshift.access.tokens import Role, Token
from nightshift.base.instants import from_ms
from nightshift.deliveries.delivery import DeliveryState
from nightshift.store.event_list import BY_NAME, EVENTS, Audience, ListedEvent, why_not_listed

CHECKOUT = Path(__file__).parents[3]
SCRIPTS = sorted((CHECKOUT / "nightshift").rglob("*.lua"))
MODULES = [
    path for package in ("nightshift", "tasks", "workers") for path in (CHECKOUT / package).rglob("*.py")
]
PRELUDE = CHECKOUT / "nightshift" / "runs" / "prelude.lua"


@dataclass(frozen=True)
class Telling:
    """One place where a script tells of an event."""

    place: str
    #: One, or several where the last part of a name is decided as the script runs.
    names: Sequence[str]
    fields: frozenset[str]


def arguments(lua: str, start: int) -> list[str]:
    """What stands between this opening bracket and its end, part by part."""
    parts, depth, quoted = [""], 0, False
    for sign in lua[start + 1 :]:
        quoted ^= sign == "'"
        if not quoted:
            if depth == 0 and sign in ")}":
                return [part.strip() for part in parts if part.strip()]
            depth += (sign in "({") - (sign in ")}")
        if sign == "," and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    raise AssertionError(f"no end: {lua[start : start + 80]}")


def fields_of(table: str) -> frozenset[str]:
    """The names in a list of names and values; whoever unpacks another list tells its fields too."""
    pairs = arguments(table, 0)
    return frozenset(name.strip("'") for name in pairs[::2] if not name.startswith("unpack("))


@cache
def of_every_run() -> frozenset[str]:
    """What ``emit_run`` tells by itself."""
    lua = PRELUDE.read_text()
    start = lua.index("emit(kind, {'run'")
    return fields_of(arguments(lua, lua.index("(", start))[1])


def last_parts(prefix: str) -> Sequence[str]:
    """What may follow where a script puts a name together."""
    if prefix == "delivery_":
        return list(DeliveryState)
    assert prefix == "budget_", f"say here which events begin with {prefix!r}"
    return re.findall(r"tell_once\('(\w+)'", "\n".join(path.read_text() for path in SCRIPTS))


def tellings() -> Iterator[Telling]:
    for path in SCRIPTS:
        lua = path.read_text()
        for call in re.finditer(r"(?<!function )\b(emit|emit_run)(?=\()", lua):
            said = arguments(lua, call.end())
            place = f"{path.relative_to(CHECKOUT)}:{lua.count(chr(10), 0, call.start()) + 1}"
            if said[0] == "kind":  # emit_run itself
                continue
            name = re.fullmatch(r"'(\w+)'( \.\. \w+)?", said[0])
            assert name, f"{place}: {said[0]} is no event's name that can be read here"
            assert said[-1].startswith("{"), f"{place}: its fields cannot be read here; list them in the call"
            names = [name[1] + part for part in last_parts(name[1])] if name[2] else [name[1]]
            more = of_every_run() if call[1] == "emit_run" else frozenset()
            yield Telling(place, names, fields_of(said[-1]) | more)


def words_of(path: Path) -> set[str]:
    """Every text in a module."""
    found = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    return {node.value for node in found if isinstance(node.value, str)}


def test_what_scripts_tell_is_listed_with_the_same_fields() -> None:
    told = list(tellings())
    assert {"claim.lua", "keypool.lua", "look.lua", "record.lua"} <= {
        each.place.partition(":")[0].rpartition("/")[2] for each in told
    }
    wrong = [
        f"{each.place}: {name}: {why}"
        for each in told
        for name in each.names
        if (why := why_not_listed(name, each.fields))
    ]
    assert wrong == [], "nightshift/store/event_list.py is the list"


def test_whatever_is_listed_is_told_by_somebody() -> None:
    by_scripts = {name for each in tellings() for name in each.names}
    publishers = [path for path in MODULES if "publish_event" in path.read_text()]
    by_modules = set[str]().union(*map(words_of, publishers))
    assert [each.name for each in EVENTS if each.name not in by_scripts | by_modules] == []


def test_no_field_is_listed_that_no_script_tells() -> None:
    told: dict[str, set[str]] = {}
    for each in tellings():
        for name in each.names:
            told.setdefault(name, set()).update(each.fields)
    listed = {name: {*BY_NAME[name].always, *BY_NAME[name].sometimes} for name in told}
    assert {name: fields - told[name] for name, fields in listed.items() if fields - told[name]} == {}


def test_each_event_is_listed_once() -> None:
    assert len(BY_NAME) == len(EVENTS)
    assert [each.name for each in EVENTS if each.always.keys() & each.sometimes.keys()] == []


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_who_is_said_to_see_an_event_is_who_sees_it(event: ListedEvent) -> None:
    for fields in (event.always, {**event.always, **event.sometimes}):
        told = dict.fromkeys(fields, "a")
        theirs, others, all_of_it = (token(tenant).sees(told.get("tenant")) for tenant in ("a", "b", None))
        assert (theirs, others, all_of_it) == (event.seen_by is Audience.TENANT, False, True)


def token(tenant: str | None) -> Token:
    return Token("t", Role.VIEWER, Role.VIEWER.scopes, tenant, from_ms(0), None, "a hash")


def test_the_page_about_events_is_made_from_the_list(tmp_path: Path) -> None:
    made = tmp_path / "events.md"
    subprocess.run([sys.executable, CHECKOUT / "scripts" / "write-events-page", made], check=True)
    page = CHECKOUT / "docs" / "reference" / "events.md"
    assert page.read_text() == made.read_text(), "the list has changed; `make docs` writes the page anew"
