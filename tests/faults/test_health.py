"""What a probe sees of real processes: hung, without a server, and on their way out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nightshift.processes.signs_of_life import REPORT_EVERY, read_processes
from tests.faults.deployment import CHECKOUT, Deployment, until


@pytest.fixture
async def alone() -> AsyncIterator[Deployment]:
    """A Redis, and no worker yet."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        async with Deployment(Path(folder)) as alone:
            await alone.start_redis()
            yield alone


def alive(deployment: Deployment, worker: str) -> Path:
    return deployment.home / "run" / f"{worker}@test.alive"


def ready(deployment: Deployment, worker: str) -> Path:
    return deployment.home / "run" / f"{worker}@test.alive.ready"


async def until_there(file: Path, there: bool = True) -> None:
    async def holds() -> bool:
        return os.path.exists(file) is there  # noqa: ASYNC240  it is this machine's own

    await until(holds, 15, f"{file.name} is {'there' if there else 'gone'}")


async def until_touched(file: Path, seconds: float) -> None:
    """Make it old, and wait until somebody says that it is not."""
    os.utime(file, (0, 0))

    async def touched() -> bool:
        return os.stat(file).st_mtime > 0

    await until(touched, seconds, f"{file.name} is touched")


async def until_it_says_so(deployment: Deployment, worker: str) -> None:
    """Its row follows its file with the next report."""
    async with asyncio.timeout(2 * REPORT_EVERY.total_seconds()):
        while True:
            found = await read_processes(deployment.client, deployment.ledger.keys)
            told = {each.name: each.facts for each in found}[worker]
            if told["ready"]:
                assert not told["why"]
                return
            await asyncio.sleep(0.05)


async def test_a_hung_worker_goes_stale_and_one_without_redis_stays_alive_but_is_not_ready(
    alone: Deployment,
) -> None:
    async with asyncio.TaskGroup() as starting:
        for name in ("hung", "well"):
            starting.create_task(alone.start_worker(name, "io"))
    await until_there(ready(alone, "hung"))
    await until_there(ready(alone, "well"))
    await until_it_says_so(alone, "well@test")

    alone.signal("hung", signal.SIGSTOP)
    os.utime(alive(alone, "hung"), (0, 0))
    began = asyncio.get_running_loop().time()
    alone.kill("redis")
    await until_there(ready(alone, "well"), there=False)
    while asyncio.get_running_loop().time() - began < REPORT_EVERY.total_seconds() + 1:
        await until_touched(alive(alone, "well"), 3)
    assert alive(alone, "hung").stat().st_mtime == 0


async def test_a_worker_is_alive_until_its_last_task_has_ended_and_leaves_no_file(
    deployment: Deployment,
) -> None:
    await deployment.start_worker("leaving", "io", "--", "worker_soft_shutdown_timeout=2")
    await until_there(ready(deployment, "leaving"))
    run = await deployment.ask("long", seconds=60)
    await deployment.until_marked(run, "began")

    deployment.signal("leaving", signal.SIGTERM)
    await until_there(ready(deployment, "leaving"), there=False)
    await until_touched(alive(deployment, "leaving"), 1.5)
    await asyncio.to_thread(deployment.processes["leaving"].wait)
    assert not list((deployment.home / "run").glob("leaving*"))
    await deployment.ledger.cancel(run)


async def test_a_worker_whose_file_cannot_be_written_does_not_start(alone: Deployment) -> None:
    file = alone.journal / "alive"
    started = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-n", "never@test"],
        cwd=CHECKOUT,
        env=os.environ | alone.environment | {"NIGHTSHIFT_LIVENESS_FILE": str(file)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert started.returncode != 0
    assert f"cannot write to {file}: Not a directory" in started.stderr
