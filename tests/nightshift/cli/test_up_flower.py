"""Flower as `nightshift up` starts it: last, behind credentials that it made, on a port that is free."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.nightshift.cli.test_up import (
    COMMAND,
    Nightshift,
    await_words,
    compiled,
    env,
    home,
    nightshift,
    running,
)

__all__ = ["compiled", "env", "home", "nightshift"]  # fixtures


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


@pytest.fixture
def with_flower(env: dict[str, str], port: str) -> dict[str, str]:
    """Flower's port, and no simulated model, which takes a second to start."""
    return env | {"NIGHTSHIFT_FLOWER_PORT": port, "NIGHTSHIFT_MODEL__URL": "http://127.0.0.1:9/v1"}


def fetch(url: str, credentials: str = "") -> int:
    request = urllib.request.Request(url)  # noqa: S310  the address is our own process's
    if credentials:
        request.add_header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_up_starts_flower_last_behind_credentials_it_made(
    home: Path, with_flower: dict[str, str], port: str
) -> None:
    log, secret = home / "up.log", home / "secrets" / "flower"
    with running("up", env=with_flower, log=log) as up:
        await_words("Ready after", log)
        url = f"http://127.0.0.1:{port}"
        assert f"at {url}, credentials in {secret}" in log.read_text()
        assert (fetch(f"{url}/metrics"), fetch(f"{url}/metrics", secret.read_text())) == (401, 200)
        worker = next(each for each in up.children() if "worker" in each.cmdline())
        assert worker.environ()["NIGHTSHIFT_TASK_EVENTS"] == "true"
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=20) == 0
    told = log.read_text()
    assert next(line.split()[0] for line in told.splitlines() if line.endswith(" stopped")) == "flower"
    password = secret.read_text().partition(":")[2]
    for written in (log, *(home / "logs").iterdir()):
        assert password not in written.read_text(), written


@contextmanager
def in_a_terminal(*words: str, env: dict[str, str]) -> Iterator[tuple[psutil.Popen, int]]:
    """A command that believes that a person watches, and what they see."""
    ours, theirs = os.openpty()
    try:
        with psutil.Popen([*COMMAND, *words], env=env, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            try:
                yield process, ours
            finally:
                if process.is_running():
                    process.kill()
    finally:
        os.close(ours)


def read_until(words: str, terminal: int) -> str:
    seen = ""
    while words not in seen:
        seen += os.read(terminal, 4096).decode()
    return seen


def test_a_person_is_told_the_password_when_it_is_made_and_then_only_where_it_is(
    home: Path, with_flower: dict[str, str]
) -> None:
    seen = []
    for _ in range(2):
        with in_a_terminal("up", env=with_flower) as (up, terminal):
            seen.append(read_until("redis    ready", terminal))
            up.send_signal(signal.SIGINT)
            seen[-1] += read_until("Stopped.", terminal)
            assert up.wait(timeout=20) == 0
    user, _, password = (home / "secrets" / "flower").read_text().partition(":")
    assert f"user is {user}, its password {password}." in seen[0]
    assert password not in seen[1]


@pytest.mark.parametrize("command", ["up", "flower"])
def test_a_port_that_is_taken_is_named_with_its_setting(nightshift: Nightshift, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = nightshift(command, NIGHTSHIFT_FLOWER_PORT=port)
    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: " in refused.stderr
    assert "set NIGHTSHIFT_FLOWER_PORT to another port" in refused.stderr


def test_credentials_that_flower_would_refuse_are_refused_before_anything_starts(
    nightshift: Nightshift, port: str
) -> None:
    refused = nightshift("up", NIGHTSHIFT_FLOWER_PORT=port, NIGHTSHIFT_FLOWER_AUTH="hunter2")
    assert refused.returncode == 2
    assert "setting 'flower_auth' is not user:password" in refused.stderr
    assert "hunter2" not in refused.stderr
    assert "ready" not in refused.stdout
