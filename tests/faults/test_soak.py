"""
All that `nightshift up` starts, killed at random while runs are recorded; then the ledger against what was
asked.

The short form is part of every check. `make soak` runs the long one: ten minutes, two hundred kills.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from nightshift.base.errors import NightshiftError
from nightshift.machine import embedded
from nightshift.runs.states import State
from nightshift.settings import load_settings
from tests.faults.deployment import CHECKOUT, Deployment, until

A_SECOND = 10
#: The supervisor is somebody else's to restart (systemd's, the test's), so it is killed less often.
SUPERVISOR_SHARE = 0.05


class Victims:
    """A deployment started as a user starts it, whose processes are killed one after the other."""

    def __init__(self, home: Path, chance: random.Random) -> None:
        self.home = home
        self.chance = chance
        self.killed: Counter[str] = Counter()
        ours = {"NIGHTSHIFT_HOME": str(home), "NIGHTSHIFT_REDIS_PORT": "0"}
        ours |= {"NIGHTSHIFT_FLOWER_PORT": "0", "NIGHTSHIFT_WEB_PORT": "0"}
        self.environment = os.environ | ours
        self.start()

    def start(self) -> None:
        with (self.home / "up.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "nightshift.cli", "up"],
                cwd=CHECKOUT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def kill_one(self) -> None:
        alive = self._alive()
        if not alive or self.chance.random() < SUPERVISOR_SHARE:
            name = "supervisor"
            self.supervisor.kill()
            self.supervisor.wait()
            self.start()
        else:
            name, process = self.chance.choice(sorted(alive.items()))
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.killed[name] += 1

    def _alive(self) -> dict[str, psutil.Process]:
        """The processes of this home, and none that only got the number of one."""
        found = {}
        for file in (self.home / "run").glob("*.pid"):
            with suppress(psutil.NoSuchProcess, ValueError):
                pid, started = file.read_text().split()
                process = psutil.Process(int(pid))
                if abs(process.create_time() - float(started)) < 1:
                    found[file.stem] = process
        return found

    async def keep_supervisor(self) -> None:
        """Start the supervisor again if it gave up, as systemd does: its children may die too soon."""
        while True:
            if self.supervisor.poll() is not None:
                self.start()
            await asyncio.sleep(0.5)

    def stop(self) -> None:
        self.supervisor.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self.supervisor.wait(40)
        self.supervisor.kill()


async def endure(home: Path, *, seconds: float, kills: int, seed: int) -> None:
    """Record ten runs a second and kill at random; then compare."""
    print(f"seed {seed}")
    server = embedded.spec_from(load_settings(home=home, redis_port=0))
    imports = '[celery]\nimports = ["tests.faults.work"]\n'
    deployment = Deployment(home, imports, embedded.socket_path(home), server.password)
    victims = Victims(home, random.Random(seed))
    keeping = asyncio.create_task(victims.keep_supervisor())
    try:
        async with deployment:
            await until(deployment.pulse_is_held, 60, "the pulse is held")
            async with asyncio.TaskGroup() as both:
                both.create_task(_record(deployment, seconds))
                both.create_task(_kill(victims, seconds, kills))
            print(f"asked {len(deployment.asked)} runs, killed {dict(victims.killed)}")
            await deployment.check(seconds=120)
            attempts = Counter(row.attempts for row in await deployment.ledger.rows(deployment.asked))
            print(f"lost leases by run: {dict(attempts)}; executions: {deployment.marks('began').total()}")
            assert not await deployment.ledger.ended_runs(State.FAILED)
    except BaseException:
        print((home / "up.log").read_text()[-5000:])
        for log in sorted((home / "logs").glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-1500:]}")
        raise
    finally:
        keeping.cancel()
        victims.stop()


async def _record(deployment: Deployment, seconds: float) -> None:
    until_then = time.monotonic() + seconds
    number = 0
    while time.monotonic() < until_then:
        began = time.monotonic()
        await _ask_until_acknowledged(deployment, f"soak:{number}")
        number += 1
        await asyncio.sleep(max(0, 1 / A_SECOND - (time.monotonic() - began)))


async def _ask_until_acknowledged(deployment: Deployment, name: str) -> None:
    while True:
        try:
            await deployment.ask(name, seconds=0.1)
        except NightshiftError:
            await asyncio.sleep(0.05)
        else:
            return


async def _kill(victims: Victims, seconds: float, kills: int) -> None:
    pauses = [victims.chance.expovariate(1) for _ in range(kills)]
    for pause in pauses:
        await asyncio.sleep(pause * seconds / sum(pauses))
        await asyncio.to_thread(victims.kill_one)


async def test_a_short_storm_of_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    await endure(tmp_path, seconds=15, kills=6, seed=random.randrange(10**6))


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_two_hundred_kills_in_ten_minutes_lose_and_double_nothing(tmp_path: Path) -> None:
    seconds = float(os.environ.get("SOAK_SECONDS", "600"))
    await endure(tmp_path, seconds=seconds, kills=round(seconds / 3), seed=random.randrange(10**6))
