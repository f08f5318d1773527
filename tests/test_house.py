"""
How the house is held together: each contract of import-linter catches what it forbids, and whatever a feature
brings is taken by somebody.

Imports are planted in a copy of the packages, as many in one run as can be told apart; the contract has to
name each of them.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations, product
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PACKAGES = ("nightshift", "tasks", "workers")
PROJECT = (CHECKOUT / "pyproject.toml").read_text()
CONTRACTS = {each["name"]: each for each in tomllib.loads(PROJECT)["tool"]["importlinter"]["contracts"]}

ONE_WAY = "one way: workers, then tasks, then nightshift"
TABLE = "the table is read by whoever runs it, never by what it names"
CELERY = "the domain knows nothing of Celery"
STOREYS = "the storeys: what is said falls from intake to deliveries and never climbs"
CIRCLES = "no two modules beside one another import each other, not even by way of others"
SETTINGS = "a feature is handed its section, and never the assembled settings"
RULES = "rules stand on nothing that could be away"
DEPLOYMENT = "a deployment is made by faces, tasks and workers alone"

#: From the top; some are not built yet.
LAYERS = CONTRACTS[STOREYS]["layers"]
#: How a contract lists what may be let through.
EXCEPTIONS = ("ignore_imports", "exhaustive_ignores", "skip_descendants")


def names(layer: str) -> list[str]:
    """The modules of this storey."""
    return re.findall(r"\w+", layer)


def inside(module: str) -> str:
    """What may import something in its name: a module planted in it, or itself if it is a file."""
    is_file = (CHECKOUT / "nightshift" / f"{module}.py").exists()
    return f"nightshift.{module}" if is_file else f"nightshift.{module}.planted"


@dataclass(frozen=True)
class Planted:
    """What is planted in one run, and which contract is to say so."""

    what: str
    caught_by: str
    #: Each as the contract names it.
    imports: tuple[str, ...]
    #: What the contract names in place of the imports.
    names: tuple[str, ...] = ()
    #: Contracts that such an import cannot but break as well.
    also: frozenset[str] = frozenset()
    written: str = "import {}"

    @property
    def named(self) -> tuple[str, ...]:
        return self.names or tuple(f"{one} (l." for one in self.imports)


def climbing() -> Iterator[str]:
    for upper, lower in pairwise(LAYERS):
        for importer, imported in product(names(lower), names(upper)):
            yield f"{inside(importer)} -> nightshift.{imported}"


def sideways() -> Iterator[str]:
    for layer in LAYERS:
        if "|" in layer:
            for importer, imported in permutations(names(layer), 2):
                yield f"{inside(importer)} -> nightshift.{imported}"


def reaching_for_settings() -> Iterator[str]:
    """From every feature that is built; base and the client stand below all features."""
    for layer in LAYERS[LAYERS.index("settings") + 1 :]:
        for name in re.findall(r"(?<!\()\b\w+", layer):
            if name not in ("client", "base"):
                yield f"{inside(name)} -> nightshift.settings"


RULE_MODULES = (
    "nightshift.time.planted",
    "nightshift.runs.states",
    "nightshift.heartbeats.gates",
    "nightshift.heartbeats.plan",
)
MAY_BE_AWAY = ("nightshift.store", "redis", "falkordb", "aiohttp", "httpx2", "openai")
#: What falls stands in this relation already, so whatever climbs closes a circle.
CLIMBS = frozenset({STOREYS, CIRCLES})

PLANTED = (
    Planted(
        "from the domain and the tasks up to the workers",
        ONE_WAY,
        (
            "tasks.planted -> workers",
            "nightshift.base.planted -> workers",
            "nightshift.base.planted -> tasks",
        ),
    ),
    Planted(
        "of the table by what it names",
        TABLE,
        ("tasks.planted -> beat_schedule", "nightshift.work.planted -> beat_schedule"),
    ),
    Planted(
        "of Celery and its like by the domain",
        CELERY,
        tuple(f"nightshift.work.planted -> {name}" for name in ("celery", "kombu", "redbeat", "flower")),
    ),
    Planted(
        "of the storey above", STOREYS, tuple(climbing()), also=frozenset({CIRCLES, SETTINGS, DEPLOYMENT})
    ),
    # `time | store` are such neighbours, and time is made of rules.
    Planted("of a neighbour", STOREYS, tuple(sideways()), also=frozenset({CIRCLES, RULES})),
    Planted(
        "inside a function",
        STOREYS,
        ("nightshift.schedules.planted -> nightshift.heartbeats",),
        written="def late():\n    import {}",
    ),
    Planted(
        "for its types alone",
        STOREYS,
        ("nightshift.schedules.planted -> nightshift.heartbeats",),
        written="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {}",
    ),
    Planted(
        "by a module of no storey",
        STOREYS,
        ("nightshift.planted -> nightshift.base",),
        names=("- nightshift.planted\n",),
    ),
    Planted(
        "in a circle of two",
        CIRCLES,
        (
            "nightshift.memory.planted_a -> nightshift.memory.planted_b",
            "nightshift.memory.planted_b -> nightshift.memory.planted_a",
        ),
        names=("No cycles are allowed in nightshift.memory.\n", " -> .planted_"),
    ),
    Planted(
        "in a circle of three, in a folder of a folder",
        CIRCLES,
        (
            "nightshift.demo.model.planted_a -> nightshift.demo.model.planted_b",
            "nightshift.demo.model.planted_b -> nightshift.demo.model.planted_c",
            "nightshift.demo.model.planted_c -> nightshift.demo.model.planted_a",
        ),
        names=("No cycles are allowed in nightshift.demo.model.\n", " -> .planted_"),
    ),
    Planted(
        "in circles of tasks and of workers",
        CIRCLES,
        (
            "tasks.planted_a -> tasks.planted_b",
            "tasks.planted_b -> tasks.planted_a",
            "workers.planted_a -> workers.planted_b",
            "workers.planted_b -> workers.planted_a",
        ),
        names=("No cycles are allowed in tasks.\n", "No cycles are allowed in workers.\n", " -> .planted_"),
    ),
    # Features stand below the settings, and time is one of them.
    Planted("of the settings by a feature", SETTINGS, tuple(reaching_for_settings()), also=CLIMBS | {RULES}),
    # `time | store` are neighbours.
    Planted(
        "of what may be away by a rule",
        RULES,
        tuple(f"{rule} -> {away}" for rule, away in product(RULE_MODULES, MAY_BE_AWAY)),
        also=frozenset({STOREYS}),
    ),
    Planted(
        "of the settings by a rule",
        RULES,
        tuple(f"{rule} -> nightshift.settings" for rule in RULE_MODULES),
        also=CLIMBS | {SETTINGS},
    ),
    # Whoever is no face stands below it.
    Planted(
        "of the deployment by what it is made of",
        DEPLOYMENT,
        tuple(f"nightshift.{name}.planted -> nightshift.deployment" for name in ("status", "machine")),
        also=CLIMBS,
    ),
)


def copy_house(to: Path) -> Path:
    """The packages, the table and the contracts, to be changed at will."""
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("beat_schedule.py", "pyproject.toml"):
        shutil.copy(CHECKOUT / file, to)
    return to


def plant(house: Path, one: str, written: str) -> None:
    importer, imported = one.split(" -> ")
    with (house / f"{importer.replace('.', '/')}.py").open("a") as file:
        file.write(written.format(imported) + "\n")


def build_the_rest(house: Path) -> None:
    """Build the storeys that are not built yet."""
    for folder in (house / "nightshift" / name for layer in LAYERS for name in names(layer)):
        if not folder.exists() and not folder.with_suffix(".py").exists():
            folder.mkdir()
            (folder / "__init__.py").touch()


def broken(house: Path) -> dict[str, str]:
    """The contracts that this house breaks, and what each says."""
    said = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=house,  # which it puts before what is installed
        env={"COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"^Contracts: \d+ kept, \d+ broken\.$", said.stdout, re.MULTILINE), said
    _, *parts = re.split(r"^(.+)\n-+$", said.stdout, flags=re.MULTILINE)
    return {title: text for title, text in zip(parts[::2], parts[1::2], strict=True) if title in CONTRACTS}


@pytest.fixture(scope="module")
def broken_by(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Planted], Mapping[str, str]]:
    """What is said of a house with this planted in it; looked at once."""

    @cache
    def look(planted: Planted) -> Mapping[str, str]:
        house = copy_house(tmp_path_factory.mktemp("house"))
        build_the_rest(house)
        for one in planted.imports:
            plant(house, one, planted.written)
        return broken(house)

    return look


# The contracts


def test_every_contract_is_held_against_an_import_planted_against_it() -> None:
    assert {planted.caught_by for planted in PLANTED} == set(CONTRACTS)


def test_a_house_in_which_nothing_is_planted_breaks_no_contract(tmp_path: Path) -> None:
    assert broken(copy_house(tmp_path)) == {}


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        pytest.param(planted, name, id=f"{planted.what}: {name.removesuffix(' (l.').strip()}")
        for planted in PLANTED
        for name in planted.named
    ],
)
def test_a_contract_names_the_import_that_breaks_it(
    planted: Planted, name: str, broken_by: Callable[[Planted], Mapping[str, str]]
) -> None:
    assert name in broken_by(planted)[planted.caught_by]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.what)
def test_an_import_breaks_no_contract_but_its_own(
    planted: Planted, broken_by: Callable[[Planted], Mapping[str, str]]
) -> None:
    assert broken_by(planted).keys() - planted.also == {planted.caught_by}


def test_whatever_a_contract_lets_through_has_a_reason_on_its_line() -> None:
    let_through = [one for each in CONTRACTS.values() for kind in EXCEPTIONS for one in each.get(kind, ())]

    assert [one for one in let_through if not re.search(rf'"{re.escape(one)}".*# \w', PROJECT)] == []


def test_no_code_is_hidden_from_the_contracts_in_a_folder_that_is_no_package() -> None:
    folders = {file.parent for package in PACKAGES for file in (CHECKOUT / package).rglob("*.py")}

    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


# What a feature brings


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def classes(file: Path, ending: str) -> list[str]:
    """The classes of this kind that are made here, but for the kind itself."""
    found = [node.name for node in ast.walk(tree(file)) if isinstance(node, ast.ClassDef)]
    return [name for name in found if name.endswith(ending) and name != ending]


def words(*nodes: ast.AST) -> set[str]:
    """Every name that is used in these."""
    every = [node for one in nodes for node in ast.walk(one)]
    named = {node.id for node in every if isinstance(node, ast.Name)}
    return named | {node.attr for node in every if isinstance(node, ast.Attribute)}


def functions(module: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}


def behind(wiring: ast.Module, part: str) -> set[str]:
    """Every name that this part is made of, by itself or by way of others in this wiring."""
    made, seen, ahead = functions(wiring), set[str](), {part}
    while ahead:
        seen.add(name := ahead.pop())
        if name in made:
            ahead |= words(*made[name].body) - seen
    return seen


def parts_made(nightshift: Path) -> set[str]:
    calls = (node for node in ast.walk(tree(nightshift / "deployment.py")) if isinstance(node, ast.Call))
    return words(*(call.func for call in calls))


def sections_read(nightshift: Path) -> set[str]:
    made = (node for node in ast.walk(tree(nightshift / "settings.py")) if isinstance(node, ast.ClassDef))
    return words(*(base for one in made if one.name == "Settings" for base in one.bases))


def forgetters_asked(nightshift: Path) -> set[str]:
    (asked,) = (
        node.value
        for node in functions(tree(nightshift / "deployment.py"))["forgetting"].body
        if isinstance(node, ast.Assign) and words(*node.targets) == {"forgetters"}
    )
    found = set[str]()
    for node in ast.walk(asked):
        match node:
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=feature), attr=part):
                found |= behind(tree(nightshift / feature / "wiring.py"), part)
    return found


#: What a feature may bring: its file, how its classes end, those that are taken, and how to have one taken.
BROUGHT = (
    ("wiring.py", "Parts", parts_made, "make them in a property of Deployment, in nightshift/deployment.py"),
    ("settings.py", "Section", sections_read, "make it a base of Settings, in nightshift/settings.py"),
    (
        "forgetting.py",
        "Forgetter",
        forgetters_asked,
        "hand it out in the feature's wiring.py and list it in Deployment.forgetting",
    ),
)


def left_out(house: Path) -> list[str]:
    """What features bring and nobody takes, each with what to do about it."""
    nightshift = house / "nightshift"
    found = []
    for file, ending, taken, remedy in BROUGHT:
        used = taken(nightshift)
        for path in sorted(nightshift.glob(f"*/{file}")):
            unused = [name for name in classes(path, ending) if name not in used]
            found += [f"{path.relative_to(house)}: nobody takes {name}; {remedy}" for name in unused]
    commands = "".join(file.read_text() for file in (nightshift / "cli").glob("*.py"))
    for path in sorted(nightshift.glob("*/by_hand.py")):
        if f"nightshift.{path.parent.name}.by_hand" not in commands:
            found.append(
                f"{path.relative_to(house)}: nobody can order it; give it a command in nightshift/cli"
            )
    return found


def test_whatever_a_feature_brings_is_taken() -> None:
    assert left_out(CHECKOUT) == []


def test_a_feature_that_nobody_takes_is_told_who_should(tmp_path: Path) -> None:
    feature = copy_house(tmp_path) / "nightshift" / "planted"
    feature.mkdir()
    for file, ending, _, _ in BROUGHT:
        (feature / file).write_text(f"class Planted{ending}: ...\n")
    (feature / "by_hand.py").touch()

    assert left_out(tmp_path) == [
        *(
            f"nightshift/planted/{file}: nobody takes Planted{end}; {remedy}"
            for file, end, _, remedy in BROUGHT
        ),
        "nightshift/planted/by_hand.py: nobody can order it; give it a command in nightshift/cli",
    ]


def test_a_forgetter_that_is_handed_out_but_not_listed_is_left_out(tmp_path: Path) -> None:
    deployment = copy_house(tmp_path) / "nightshift" / "deployment.py"
    deployment.write_text(deployment.read_text().replace("self.platforms.forgetter,", ""))

    (said,) = left_out(tmp_path)
    assert "nobody takes RoomForgetter" in said


@pytest.mark.parametrize(("file", "ending"), [brought[:2] for brought in BROUGHT])
def test_features_use_one_name_for_one_thing(file: str, ending: str) -> None:
    elsewhere = [path for path in (CHECKOUT / "nightshift").rglob("*.py") if path.name != file]

    assert [f"{path}: {name}" for path in elsewhere for name in classes(path, ending)] == []
