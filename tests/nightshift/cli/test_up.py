"""The deployment as a person runs it: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from nightshift.base.errors import BadSetting
from nightshift.base.home import simulated_model
from nightshift.cli import up
from nightshift.machine.commands import checkout, environment
from nightshift.settings import load_settings

COMMAND = (sys.executable, "-m", "nightshift.cli")

type Nightshift = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def compiled() -> Iterator[str]:
    """Where the processes keep what they compiled, so that only the first to start takes long."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        yield folder


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        yield Path(folder)


@pytest.fixture
def env(home: Path, compiled: str) -> dict[str, str]:
    ours = {
        "NIGHTSHIFT_HOME": str(home),
        "NIGHTSHIFT_REDIS_PORT": "0",
        "NIGHTSHIFT_FLOWER_PORT": "0",
        "NIGHTSHIFT_WEB_PORT": "0",
        "PYTHONPYCACHEPREFIX": compiled,
    }
    theirs = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NIGHTSHIFT_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return theirs | ours


@pytest.fixture
def nightshift(env: dict[str, str]) -> Nightshift:
    def run(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, env=env | changes, timeout=60
        )

    return run


@contextmanager
def running(*words: str, env: dict[str, str], log: Path) -> Iterator[psutil.Popen]:
    """A command that runs until it is stopped; killed in the end with all that it started."""
    with (
        log.open("w") as output,
        psutil.Popen([*COMMAND, *words], env=env, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            if process.is_running():
                for each in (*process.children(recursive=True), process):
                    each.kill()


def await_words(words: str, log: Path) -> None:
    """Wait for them: the first to start compiles all that it imports, which may take a busy machine long."""
    until = time.monotonic() + 60
    while words not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)


def end(process: psutil.Popen, *signals: signal.Signals) -> int:
    """Send these, wait until nothing of it is left, and return its exit code."""
    started = process.children(recursive=True)
    assert len(started) == 4
    for signum in signals:
        process.send_signal(signum)
    code: int = process.wait(timeout=15)
    assert psutil.wait_procs(started, timeout=1)[1] == []
    return code


def test_up_runs_the_deployment_until_ctrl_c_and_finds_its_data_again(
    home: Path, env: dict[str, str], nightshift: Nightshift
) -> None:
    def answer(*words: str) -> Any:
        result = nightshift(*words, "--json")
        assert result.returncode == 0, result.stderr + log.read_text()
        return json.loads(result.stdout)

    log = home / "up.log"
    with running("up", env=env, log=log) as up:
        status = answer("status", "--wait", "50s")
        assert status["ready"], log.read_text()
        kinds = {each["kind"]: each for each in status["processes"]}
        assert kinds.keys() >= {"beat", "worker"}

        run = answer("jobs", "run", "graph_census", "--wait")
        assert run["state"] == "done"
        last = {job["name"]: job for job in answer("jobs")}["graph_census"]["last"]["run"]
        assert last.startswith("job:graph_census@")  # this one, or a slot's that came meanwhile
        assert answer("why", "graph_census")["next"]

        second = nightshift("up")
        assert (second.returncode, f"already run by process {up.pid}" in second.stderr) == (1, True)

        assert simulated_model(home).read_text().startswith("http://127.0.0.1:")
        supervisor = {each["kind"]: each for each in answer("status")["processes"]}["supervisor"]
        children = [(child["name"], child["state"]) for child in supervisor["facts"]["children"]]
        assert children == [(name, "running") for name in ("redis", "sim-llm", "beat", "worker")]
        assert end(up, signal.SIGINT) == 0

    told = log.read_text()
    assert "a simulated model, nothing it says is real" in told
    assert "Ready after" in told
    assert f"done     {run['id']} in" in told
    stopped = [line.split()[0] for line in told.splitlines() if line.endswith(" stopped")]
    assert stopped == ["worker", "beat", "sim-llm", "redis"]
    away = nightshift("status", "--json")
    assert (away.returncode, json.loads(away.stdout)["ready"]) == (3, False)

    assert not simulated_model(home).exists()
    port = (home / "run" / "sim-llm.port").read_text()
    with running("up", env=env, log=log) as up:
        assert answer("status", "--wait", "50s")["ready"]
        assert run["id"] in [each["id"] for each in answer("runs")]
        assert f"127.0.0.1:{port}/v1" in log.read_text(), "where others may have noted it down"
        frozen = next(each for each in up.children() if "worker" in each.cmdline())
        frozen.suspend()
        assert end(up, signal.SIGTERM, signal.SIGINT) == 130, "the second signal kills"


def test_a_port_that_is_taken_is_named(nightshift: Nightshift) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = nightshift("up", NIGHTSHIFT_REDIS_PORT=port)
    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr


def test_what_a_killed_up_left_behind_is_waited_for_before_its_port_is_wanted(
    home: Path, env: dict[str, str]
) -> None:
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1]); input()"
    with psutil.Popen(
        [sys.executable, "-uc", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as left:
        port = left.stdout.readline().strip()
        (home / "run").mkdir()
        (home / "run" / "redis.pid").write_text(f"{left.pid} {left.create_time():.2f}")
        log = home / "up.log"
        with running("up", env=env | {"NIGHTSHIFT_REDIS_PORT": port}, log=log) as up:
            await_words("profile small", log)
            left.communicate("\n")
            await_words("redis    ready", log)
            up.send_signal(signal.SIGINT)
            assert up.wait(timeout=15) == 0


def test_a_home_that_cannot_be_written_to_is_named(home: Path, nightshift: Nightshift) -> None:
    (home / "file").touch()
    refused = nightshift("up", NIGHTSHIFT_HOME=str(home / "file" / "home"))
    assert refused.returncode == 2
    assert f"cannot write to {home / 'file' / 'home'}" in refused.stderr


async def test_a_store_that_evicts_is_refused_before_anything_starts(
    redis: Redis, redis_socket: Path, nightshift: Nightshift
) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        url = f"unix://{redis_socket}?db=9"
        refused = nightshift("up", "--quiet", NIGHTSHIFT_STATE_URL=url, NIGHTSHIFT_BROKER_URL=url)
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert refused.returncode == 2
    assert "maxmemory-policy is allkeys-lru" in refused.stderr
    assert refused.stdout == ""


def test_a_process_in_another_folder_reads_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nightshift.toml").write_text("concurrency = 7")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", "home")
    here = load_settings()
    monkeypatch.chdir("/")
    for name, value in environment(here).items():
        monkeypatch.setenv(name, value)

    assert load_settings() == here
    assert (here.concurrency, here.home) == (7, tmp_path / "home")


def test_a_place_without_the_workers_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.base.home.CHECKOUT", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSetting, match="run this in a checkout"):
        checkout()


def test_a_simulated_model_says_where_it_is_and_fails_as_told(env: dict[str, str]) -> None:
    words = ["sim-llm", "--fault", "500", "--latency", "1ms"]
    with subprocess.Popen([*COMMAND, *words], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http")).rstrip(";")
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(f"{url}/models", timeout=10)  # noqa: S310  the address is our own process's
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=10), process.stdout.read()) == (130, "")
    assert "simulated" in line


async def test_a_store_that_goes_away_while_a_process_starts_is_waited_for() -> None:
    looks = 0

    async def there() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise ConnectionError("gone for a moment")
        return True

    await up.until(there)
    assert looks == 2
