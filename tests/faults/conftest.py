from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.faults.deployment import UNHURRIED, Deployment


@pytest.fixture(scope="session")
def core() -> Iterator[Path]:
    """The home of a Redis, a beat and a worker for the pulse, which stay alive for all tests that ask."""
    running: dict[str, subprocess.Popen[bytes]] = {}

    async def start(deployment: Deployment) -> None:
        async with deployment:
            await deployment.start_core()
            # They outlive this loop, and are ended below.
            running.update(deployment.processes)
            deployment.processes.clear()

    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        deployment = Deployment(Path(folder))
        asyncio.run(start(deployment))
        yield Path(folder)
        deployment.processes.update(running)
        deployment.end()


@pytest.fixture
async def deployment(core: Path) -> AsyncIterator[Deployment]:
    """The shared core; the test starts the workers that it will mistreat."""
    async with Deployment(core) as shared:
        yield shared


@pytest.fixture
async def unhurried(core: Path) -> AsyncIterator[Deployment]:
    """The shared core; workers that the test starts lose no lease, however busy the machine."""
    async with Deployment(core, UNHURRIED) as shared:
        yield shared


@pytest.fixture
async def own_deployment() -> AsyncIterator[Deployment]:
    """A core of the test's own, to mistreat as well."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        async with Deployment(Path(folder)) as own:
            await own.start_core()
            yield own
