"""What a bot gets when it installs ``nightshift`` alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
UV = CHECKOUT / ".tools" / "bin" / "uv"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it, and nothing else."""
    if not UV.exists():
        pytest.skip(f"{UV} is missing: run `make test`, which makes it")
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    _run(str(UV), "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(CHECKOUT))
    (wheel,) = wheels.glob("*.whl")
    _run(str(UV), "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    return target


def test_it_brings_one_name_and_asks_for_no_other_package(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info" and path.name[0] != "."}
    assert names - {"bin"} == {"nightshift"}
    (metadata,) = installed.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    assert all("extra ==" in line for line in required), required


def test_importing_it_imports_no_server_code(installed: Path) -> None:
    code = "import nightshift.client, sys; print(*sorted(sys.modules))"
    modules = _alone(installed, "-c", code).stdout.split()
    assert not {"celery", "kombu", "redis", "aiohttp", "pydantic"} & set(modules)


def test_a_bots_client_says_what_to_install(installed: Path) -> None:
    code = (
        "import asyncio; from nightshift.client import Nightshift; "
        "asyncio.run(Nightshift('http://127.0.0.1:9', 't', platform='p').start())"
    )
    said = _alone(installed, "-c", code)
    assert "pip install nightshift[client]" in said.stderr.splitlines()[-1]


def test_its_command_says_what_to_install(installed: Path) -> None:
    said = _alone(installed, "-m", "nightshift.cli")
    assert said.returncode == 2
    assert "nightshift[server]" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_scripts_of_the_ledger_are_in_it(installed: Path) -> None:
    assert len(list((installed / "nightshift" / "runs").glob("*.lua"))) == 7


def _alone(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run this with the installed folder and the standard library, and nothing else."""
    return subprocess.run(
        [sys.executable, "-S", *words],
        env={"PYTHONPATH": str(installed)},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
