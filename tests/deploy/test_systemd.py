"""The unit of the small profile on one machine."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest

from nightshift.base.home import PREFIX
from nightshift.cli.up import WORKER_STOP
from nightshift.settings import Settings
from tests.deploy.commands import refusal
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "nightshift.service"
#: What systemd calls exposure, from 0 to 10; that of a unit which says nothing is 9.6.
EXPOSURE = 2.0


@pytest.fixture
def service() -> dict[str, list[str]]:
    """The keys of its section [Service]; some may be said twice."""
    keys = defaultdict(list)
    section = UNIT.read_text().partition("[Service]\n")[2].partition("\n[")[0]
    for line in section.splitlines():
        if line and line[0] != "#":
            key, _, value = line.partition("=")
            keys[key].append(value)
    return dict(keys)


def test_it_runs_the_small_profile_as_a_user_of_its_own(service: dict[str, list[str]]) -> None:
    (command,) = service["ExecStart"]
    program, *words = command.split()
    assert Path(program).name == "nightshift"
    assert refusal(words) is None
    assert service["User"] == ["nightshift"]


def test_its_home_is_the_only_folder_it_may_write_to(service: dict[str, list[str]]) -> None:
    assert service["ProtectSystem"] == ["strict"]
    assert service["StateDirectoryMode"] == ["0700"]
    (state,) = service["StateDirectory"]
    assert f"{PREFIX}HOME=/var/lib/{state}" in service["Environment"]
    assert "ReadWritePaths" not in service


def test_settings_it_is_given_exist(service: dict[str, list[str]]) -> None:
    names = [value.partition("=")[0] for value in service["Environment"]]
    named = {name.removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
    assert named <= Settings.model_fields.keys()


def test_a_crash_is_followed_by_a_start_and_a_stop_by_none(service: dict[str, list[str]]) -> None:
    assert service["Restart"] == ["on-failure"]


def test_up_alone_is_asked_to_stop_and_given_time_for_its_runs(service: dict[str, list[str]]) -> None:
    assert service["KillMode"] == ["mixed"]
    assert timedelta(seconds=int(service["TimeoutStopSec"][0])) >= WORKER_STOP + timedelta(seconds=30)


def test_systemd_understands_it(tmp_path: Path) -> None:
    analyze = _systemd_analyze()
    text = UNIT.read_text()
    for named, here in (
        ("/opt/nightshift/.venv/bin/nightshift up", "/bin/true"),
        ("User=nightshift", "User=root"),
    ):
        assert named in text
        text = text.replace(named, here)
    there = tmp_path / UNIT.name
    there.write_text(text)
    done = subprocess.run([analyze, "verify", there], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_little_is_exposed() -> None:
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    command = [_systemd_analyze(), "security", "--offline=true", "--no-pager", threshold, str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _systemd_analyze() -> str:
    found = shutil.which("systemd-analyze")
    if not found:
        pytest.skip("systemd-analyze is missing: what systemd says of the unit goes UNCHECKED")
    return found
