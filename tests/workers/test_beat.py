"""Beat's scheduler in this process, on a real Redis: what it records, writes, refuses and puts up with."""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from redbeat.schedulers import RedBeatSchedulerEntry
from redis import Redis

from nightshift.controls.switches import Switches
from nightshift.deployment import process_settings
from nightshift.jobs.row import Job, Need, always, flag
from nightshift.jobs.table import JobStatus, Rows, read_table
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import run_id
from nightshift.store.client import new_client
from nightshift.store.keys import Keys
from nightshift.time.cadence import Cadence, Every, every
from nightshift.time.misfire import Misfire
from tasks.ledger import retain
from tasks.pulse import pulse
from workers.beat import Scheduler

STATE, BROKER = 14, 15
KEYS = Keys()
INDEX = f"{KEYS.beat_prefix}:schedule"
LEASE = f"{KEYS.beat_prefix}:lock"
PERIOD = timedelta(minutes=10)
#: Flips show this fast.
FLIP = 5


def job(name: str, **options: Any) -> Job:
    row: dict[str, Any] = {
        "task": retain,
        "when": every(minutes=10),
        "first_run_after": timedelta(minutes=1),
        "queue": "control",
        "needs": (),
        "only_if": always,
        "late": Misfire.RUN_LATEST,
    }
    return Job(name, **row | options)


@dataclass
class Deployment:
    """A store and a broker, and the beats that are started on them."""

    store: Any
    broker: Any
    state_url: str
    _open: ExitStack = field(default_factory=ExitStack)

    def beat(self, *jobs: Job) -> Scheduler:
        """One more beat, with this table; it does nothing before its first tick."""
        from workers.app import App, celery_settings  # reads the settings, which are this test's by now

        app = App("beat-of-a-test", set_as_current=False)
        app.conf.update(celery_settings(process_settings()))
        beat = Scheduler(app)
        beat.rows = Rows({job.name: job for job in jobs}, {}, {})
        self._open.callback(beat.close)
        return beat

    def leave_behind(self, job: Job, announced: datetime) -> float:
        """Store what an earlier beat of this deployment had stored when it announced this slot."""
        grid = json.dumps(job.when.anchored(announced - 1000 * PERIOD).to_spec())
        self.store.hset(row_key(job.name), "cadence", grid)
        self.store.zadd(INDEX, {row_key(job.name): announced.timestamp()})
        return announced.timestamp()

    def announced(self, name: str) -> datetime | None:
        score = self.store.zscore(INDEX, row_key(name))
        return None if score is None else datetime.fromtimestamp(score, UTC)

    def ask[T](self, question: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        async def asking() -> T:
            async with new_client(self.state_url) as client:
                return await question(client)

        return asyncio.run(asking())

    def runs(self, name: str) -> list[datetime]:
        """The slots of this job that wait to be carried out."""
        runs = self.ask(lambda client: Ledger(client, KEYS).open_runs(limit=10_000))
        return sorted(run.nominal for run in runs if run.source == f"job:{name}")

    def skips(self, name: str) -> list[tuple[str, int, datetime]]:
        skips = self.ask(lambda client: Ledger(client, KEYS).skips(f"job:{name}"))
        return [(skip.reason, skip.times, skip.nominal) for skip in skips]

    def table(self) -> dict[str, JobStatus]:
        return {row.name: row for row in self.ask(lambda client: read_table(client, KEYS))}

    def flip(self, *, model: bool, paused: str) -> None:
        async def flip(client: Any) -> None:
            switches = Switches(client, KEYS, process_settings())
            await switches.set("chat_llm_enabled", model)
            await (switches.resume(paused) if model else switches.pause(paused, by="ada"))

        self.ask(flip)

    def everything(self) -> dict[str, bytes]:
        """All that is stored, apart from signs of life."""
        return {key: self.store.dump(key) for key in self.store.keys("*") if ":process" not in key}


@pytest.fixture
def deployment(redis_socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    state_url = f"unix://{redis_socket}?db={STATE}"
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", state_url)
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", f"redis+socket://{redis_socket}?virtual_host={BROKER}")
    monkeypatch.setenv("NIGHTSHIFT_MODEL__URL", "http://127.0.0.1:9")
    process_settings.cache_clear()
    socket = str(redis_socket)
    with (
        Redis(unix_socket_path=socket, db=STATE, decode_responses=True) as store,
        Redis(unix_socket_path=socket, db=BROKER, decode_responses=True) as broker,
    ):
        found = Deployment(store, broker, state_url)
        with found._open:
            yield found
        store.flushdb()
        broker.flushdb()
    process_settings.cache_clear()


@pytest.fixture
def ago() -> Any:
    """``ago(minutes=1)``: an instant on a whole second, that long before now."""
    return lambda **back: datetime.now(UTC).replace(microsecond=0) - timedelta(**back)


def row_key(name: str) -> str:
    return f"{KEYS.beat_prefix}{name}"


def tick_until(beat: Scheduler, true: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(min(beat.tick(), 0.1))


# Slots


def test_a_slot_becomes_a_run_and_the_next_is_announced_on_the_grid_without_a_message(
    deployment: Deployment, ago: Any
) -> None:
    slot = ago(minutes=1)
    deployment.leave_behind(job("tidy"), slot)

    pause = deployment.beat(job("tidy")).tick()

    run = deployment.ask(lambda client: Ledger(client, KEYS).get(run_id("job:tidy", slot)))
    assert (run.state, run.queue, run.task) == ("waiting", "control", "tasks.ledger.retain")
    assert deployment.announced("tidy") == slot + PERIOD
    assert pause == 2  # as RedBeat is told, since nothing is due sooner
    assert deployment.broker.keys("*") == []


def test_redbeats_own_tools_read_the_row(deployment: Deployment, ago: Any) -> None:
    slot = ago(minutes=1)
    deployment.leave_behind(job("tidy"), slot)
    beat = deployment.beat(job("tidy"))
    beat.tick()

    entry = RedBeatSchedulerEntry.from_key(row_key("tidy"), app=beat.app)

    assert (entry.name, entry.task, entry.options) == ("tidy", "tasks.ledger.retain", {"queue": "control"})
    assert entry.schedule.run_every == PERIOD
    assert entry.last_run_at == slot


@pytest.mark.parametrize(
    ("late", "carried_out", "missed"),
    [
        (Misfire.RUN_LATEST, 1, 5),
        (Misfire.SKIP, 0, 6),
        (Misfire.RUN_ALL, 6, 0),  # one after the other, in the job's lane
    ],
)
def test_slots_that_passed_without_a_beat_run_or_count_as_missed_as_the_row_says(
    deployment: Deployment, ago: Any, late: Misfire, carried_out: int, missed: int
) -> None:
    latest = ago(minutes=2)
    first = latest - 5 * PERIOD
    deployment.leave_behind(job("tidy"), first)

    deployment.beat(job("tidy", late=late)).tick()

    slots = [first + n * PERIOD for n in range(6)]
    assert deployment.runs("tidy") == slots[6 - carried_out :]
    assert deployment.skips("tidy") == ([("missed", missed, first)] if missed else [])
    assert deployment.announced("tidy") == latest + PERIOD


def test_a_slot_that_finds_its_job_running_is_skipped(deployment: Deployment, ago: Any) -> None:
    first, second = ago(minutes=2), ago(minutes=1)
    beat = deployment.beat(job("tidy"))
    for slot in (first, second):
        deployment.leave_behind(job("tidy"), slot)
        beat.tick()

    assert deployment.runs("tidy") == [first]
    assert deployment.skips("tidy") == [("overlap", 1, second)]


def test_only_the_pulses_own_trigger_is_published_and_it_expires(deployment: Deployment, ago: Any) -> None:
    jobs = job("pulse", task=pulse, recorded=False, when=every(seconds=10)), job("tidy")
    for each in jobs:
        deployment.leave_behind(each, ago(seconds=1))

    deployment.beat(*jobs).tick()

    _, heard = deployment.broker.blpop(["ns-broker:control"], timeout=5)
    message = json.loads(heard)
    assert message["headers"]["task"] == "tasks.pulse.pulse"
    in_ten_seconds = datetime.now(UTC) + timedelta(seconds=10)
    assert abs(datetime.fromisoformat(message["headers"]["expires"]) - in_ten_seconds) < timedelta(seconds=3)
    assert [key for key in deployment.broker.keys("*") if "_kombu" not in key] == []
    assert deployment.runs("pulse") == []


# Restarts and flips


def test_a_restart_goes_on_where_the_last_beat_stopped(deployment: Deployment) -> None:
    first = deployment.beat(job("tidy"), job("other"))
    first.tick()
    stored = {key: deployment.everything()[key] for key in (INDEX, row_key("tidy"), row_key("other"))}
    first.close()

    deployment.beat(job("tidy"), job("other")).tick()

    assert {key: deployment.everything()[key] for key in stored} == stored


def test_a_row_that_leaves_the_table_and_comes_back_keeps_its_grid(deployment: Deployment) -> None:
    announced = []
    for table in [job("tidy"), job("other")], [job("other")], [job("tidy"), job("other")]:
        beat = deployment.beat(*table)
        beat.tick()
        announced.append(deployment.announced("tidy"))
        assert set(deployment.table()) == {job.name for job in table}
        beat.close()

    assert announced[0] == announced[2]
    assert announced[1] is None


def test_switches_and_pauses_show_within_five_seconds_with_their_reason_and_go_back(
    deployment: Deployment,
) -> None:
    jobs = job("probe", needs=(Need.CHAT_LLM,), only_if=flag("model_probe")), job("tidy"), job("other")
    beat = deployment.beat(*jobs)
    beat.tick()
    was = {name: deployment.announced(name) for name in ("probe", "tidy", "other")}
    assert all(row.on for row in deployment.table().values())

    deployment.flip(model=False, paused="tidy")
    tick_until(beat, lambda: not deployment.table()["probe"].on, FLIP)

    assert {name: row.why for name, row in deployment.table().items()} == {
        "probe": "needs CHAT_LLM: switch chat_llm_enabled is off",
        "tidy": "paused by ada; `nightshift jobs resume tidy`",
        "other": "",
    }
    assert [deployment.announced(name) for name in was] == [None, None, was["other"]]

    deployment.flip(model=True, paused="tidy")
    tick_until(beat, lambda: deployment.table()["probe"].on, FLIP)

    assert {name: deployment.announced(name) for name in was} == was


def test_a_job_that_was_off_catches_nothing_up(deployment: Deployment, ago: Any) -> None:
    slot = ago(minutes=25)
    deployment.leave_behind(job("tidy"), slot)
    deployment.flip(model=False, paused="tidy")
    beat = deployment.beat(job("tidy"))
    beat.tick()
    beat.close()
    assert deployment.announced("tidy") is None

    deployment.flip(model=True, paused="tidy")
    deployment.beat(job("tidy")).tick()

    assert deployment.announced("tidy") == slot + 3 * PERIOD
    assert deployment.runs("tidy") == []
    assert deployment.skips("tidy") == []


# Liveness


@pytest.mark.parametrize("store", ["there", "away"])
def test_every_tick_says_that_beat_is_alive_and_closing_leaves_no_file(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    if store == "away":
        monkeypatch.setenv("NIGHTSHIFT_STATE_URL", "redis://127.0.0.1:1/0")
        process_settings.cache_clear()
    beat = deployment.beat(job("tidy"))
    (file,) = (tmp_path / "run").glob("beat@*.alive")
    os.utime(file, (0, 0))
    beat.tick()
    assert file.stat().st_mtime > 0
    beat.close()
    assert list((tmp_path / "run").iterdir()) == []


# Damage


def test_damaged_rows_are_mended_and_neither_they_nor_others_lose_a_slot(
    deployment: Deployment, ago: Any
) -> None:
    slot = ago(minutes=1)
    store = deployment.store
    damaged = [
        ("definition", "{"),
        ("meta", "{"),
        ("cadence", "{"),
        ("cadence", "[]"),
        ("definition", b"\xff\xfe"),
    ]
    jobs = [job(f"damaged{n}") for n in range(len(damaged))]
    for each in (*jobs, job("sound")):
        deployment.leave_behind(each, slot)
    for each, (name, value) in zip(jobs, damaged, strict=True):
        store.hset(row_key(each.name), name, value)
    store.set(row_key("replaced"), "no row at all")
    store.zadd(INDEX, {row_key("misplaced"): -math.inf})
    others = job("sound"), job("replaced"), job("misplaced")

    beat = deployment.beat(*jobs, *others)
    beat.tick()

    for each in (*jobs, job("sound")):
        assert deployment.runs(each.name) == [slot]
        entry = RedBeatSchedulerEntry.from_key(row_key(each.name), app=beat.app)
        assert (entry.name, entry.last_run_at) == (each.name, slot)
    for name in ("replaced", "misplaced"):
        announced = deployment.announced(name)
        assert announced is not None
        assert announced > slot
    assert all(row.on for row in deployment.table().values())


def test_a_row_nobody_knows_is_taken_out_of_the_index_and_nothing_else_of_it(
    deployment: Deployment, ago: Any
) -> None:
    beat = deployment.beat(job("tidy"))
    beat.tick()
    deployment.store.hset(row_key("stranger"), "definition", "somebody's")
    deployment.store.zadd(INDEX, {row_key("stranger"): ago(minutes=1).timestamp()})

    beat.tick()
    beat.tick()

    assert deployment.store.zrange(INDEX, 0, -1) == [row_key("tidy")]
    assert deployment.store.hgetall(row_key("stranger")) == {"definition": "somebody's"}


@dataclass(frozen=True)
class Faulty(Every):
    """A cadence, as a package may bring it, that cannot do one thing."""

    fails_at: str = ""

    def anchored(self, at: datetime) -> Faulty:
        return replace(self, anchor=at)

    def slot_after(self, instant: datetime) -> datetime:
        assert self.fails_at != "slot_after"
        return super().slot_after(instant)

    def count(self, after: datetime, until: datetime) -> int:
        assert self.fails_at != "count"
        return super().count(after, until)


@pytest.mark.parametrize("fails_at", ["slot_after", "count"])  # when it is brought in, when it is due
def test_a_row_whose_code_fails_is_left_alone_for_a_while_and_the_others_go_on(
    deployment: Deployment, ago: Any, fails_at: str
) -> None:
    slot = ago(minutes=1)
    faulty: Cadence = Faulty(PERIOD, fails_at=fails_at)
    jobs = job("faulty", when=faulty), job("sound")
    for each in jobs:
        deployment.leave_behind(each, slot)
    beat = deployment.beat(*jobs)

    pauses = [beat.tick(), beat.tick(), beat.tick()]

    assert deployment.runs("sound") == [slot]
    assert pauses[-1] > 0  # it does not spin
    status = deployment.table()["faulty"]
    assert not status.on
    assert "left alone for 0:01:00: AssertionError" in status.why
    assert deployment.announced("faulty") is None


def test_what_is_broken_under_a_due_row_costs_that_row_only(deployment: Deployment, ago: Any) -> None:
    slot = ago(minutes=1)
    jobs = job("blocked"), job("sound")
    for each in jobs:
        deployment.leave_behind(each, slot)
    deployment.store.set(KEYS.lane("job:blocked"), "no lane at all")

    beat = deployment.beat(*jobs)
    beat.tick()
    beat.tick()

    assert deployment.runs("sound") == [slot]
    assert "left alone" in deployment.table()["blocked"].why


def test_a_store_that_is_full_for_a_while_costs_no_slot(deployment: Deployment, ago: Any) -> None:
    slot = ago(minutes=1)
    beat = deployment.beat(job("tidy"))
    beat.tick()
    deployment.leave_behind(job("tidy"), slot)

    deployment.store.config_set("maxmemory", 1)
    try:
        assert beat.tick() == 1
    finally:
        deployment.store.config_set("maxmemory", 0)
    assert deployment.runs("tidy") == []

    beat.tick()
    assert deployment.runs("tidy") == [slot]


# Who leads


def test_a_standby_with_another_table_changes_nothing(deployment: Deployment) -> None:
    leader = deployment.beat(job("tidy"), job("other"))
    leader.tick()
    before = deployment.everything()

    standby = deployment.beat(job("tidy", when=every(seconds=1)), job("new"))
    assert standby.tick() == 1
    assert standby.tick() == 1

    assert deployment.everything() == before
    leader.close()
    standby.tick()
    assert set(deployment.table()) == {"tidy", "new"}


def test_a_beat_that_only_believes_it_leads_writes_no_row(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.beat(job("tidy")).tick()
    before = deployment.everything()
    believer = deployment.beat(job("tidy", when=every(seconds=1)), job("new"))
    monkeypatch.setattr(believer, "_holds_lease", _yes)

    assert believer.tick() == 1

    assert deployment.everything() == before


def test_a_lease_that_passes_on_while_rows_are_being_written_takes_the_writes_with_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = deployment.beat(job("tidy"))
    read_rows = beat._read_rows

    async def read_slowly(keys: Any) -> Any:
        deployment.store.set(LEASE, "somebody else")
        return await read_rows(keys)

    monkeypatch.setattr(beat, "_read_rows", read_slowly)

    assert beat.tick() == 1

    assert set(deployment.everything()) == {LEASE, KEYS.events}


def test_two_beats_that_both_believe_they_lead_double_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, ago: Any
) -> None:
    slot = ago(minutes=1)
    jobs = [job(f"tidy{n}", late=(Misfire.RUN_LATEST, Misfire.RUN_ALL)[n % 2]) for n in range(2_000)]
    triggers = [job(f"trigger{n}", recorded=False) for n in range(100)]
    beats = [deployment.beat(*jobs, *triggers), deployment.beat(*jobs, *triggers)]
    published: list[str] = []
    for beat in beats:  # each has led, and knows all rows
        deployment.store.delete(LEASE)
        beat.tick()
        monkeypatch.setattr(beat, "_holds_lease", _yes)
        monkeypatch.setattr(beat, "_install", _nothing)
        monkeypatch.setattr(beat, "_publish_trigger", lambda job: published.append(job.name))
    deployment.store.zadd(INDEX, {row_key(job.name): slot.timestamp() for job in (*jobs, *triggers)})

    threads = [Thread(target=_lead_until_nothing_is_due, args=(beat,)) for beat in beats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    events = [facts for _, facts in deployment.store.xrange(KEYS.events)]
    recorded = [facts["run"] for facts in events if facts["type"] == "run_recorded"]
    assert sorted(recorded) == sorted(run_id(job.source, slot) for job in jobs)
    assert sorted(published) == sorted(job.name for job in triggers)


def _lead_until_nothing_is_due(beat: Scheduler) -> None:
    while beat.tick() == 0:
        pass


async def _yes() -> bool:
    return True


async def _nothing(_: datetime) -> None:
    """Know what is known already."""


# Going


def test_a_signal_in_the_middle_of_a_tick_ends_it_and_gives_the_lease_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, ago: Any
) -> None:
    jobs = [job(f"tidy{n}") for n in range(20)]
    for each in jobs:
        deployment.leave_behind(each, ago(minutes=1))
    beat = deployment.beat(*jobs)
    record = beat._record

    def terminate() -> None:  # as Celery's own handler does
        beat.close()
        raise SystemExit

    async def record_and_be_terminated(*slot: Any) -> None:
        monkeypatch.setattr(beat, "_record", record)
        asyncio.get_running_loop().call_soon(terminate)
        await record(*slot)

    monkeypatch.setattr(beat, "_record", record_and_be_terminated)

    with pytest.raises(SystemExit):
        beat.tick()
    beat.close()  # as Celery does once more

    assert deployment.store.exists(LEASE) == 0
    assert deployment.store.zrange(KEYS.processes, 0, -1) == []
    assert len([job for job in jobs if deployment.runs(job.name)]) <= 1
    beat.close()
