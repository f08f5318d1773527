"""What probes ask, and how the command line is called in the image."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY

BIN = DEPLOY / "bin"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alive"


def test_a_process_that_touched_its_file_is_alive(file: Path) -> None:
    file.touch()
    assert _passes("alive", file)


@pytest.mark.parametrize(
    ("age", "alive"),
    [
        (50, True),  # longer than any pause between touches, soft shutdown included
        (70, False),  # it hangs
        (3600, False),
        (-5, True),  # the clock was set back
    ],
)
def test_a_process_is_alive_for_a_minute_after_each_touch(file: Path, age: float, alive: bool) -> None:
    _touch(file, age)
    assert _passes("alive", file) is alive


def test_a_process_that_never_touched_its_file_is_not_alive(file: Path) -> None:
    assert not _passes("alive", file)


def test_a_worker_is_ready_while_both_files_say_so(file: Path) -> None:
    file.touch()
    assert not _passes("ready", file)

    ready = file.with_name("alive.ready")
    ready.touch()
    assert _passes("ready", file)

    _touch(file, 70)
    assert not _passes("ready", file)  # left behind by a worker that was killed


def test_the_command_line_is_called_with_its_words_and_exit_code() -> None:
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(DEPLOY.parent)}
    program = str(BIN / "nightshift")
    version = subprocess.run([program, "--version"], env=env, capture_output=True, text=True, check=True)
    assert version.stdout.startswith("nightshift ")
    wrong = subprocess.run([program, "no such"], env=env, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "'no such'" in wrong.stderr


def _passes(probe: str, file: Path) -> bool:
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "NIGHTSHIFT_LIVENESS_FILE": str(file)}
    return subprocess.run([probe], env=env, check=False, executable=BIN / probe).returncode == 0


def _touch(file: Path, age: float) -> None:
    file.touch()
    os.utime(file, (time.time() - age,) * 2)
