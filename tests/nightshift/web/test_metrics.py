"""What Prometheus is told, by a real Redis."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import NewDelivery
from nightshift.jobs.table import JobStatus, store_table
from nightshift.processes.signs_of_life import report
from nightshift.runs.ledger import Ledger, Missed
from nightshift.runs.row import RunRequest
from nightshift.runs.states import Overlap, Rules, done, failed
from nightshift.settings import Settings
from nightshift.store.client import new_client, store_now
from nightshift.store.keys import Keys
from nightshift.web import metrics
from tests.nightshift.runs.model import Clock, request
from tests.nightshift.web.reading import read

HOUR = timedelta(hours=1)


@pytest.fixture
async def broker(redis_socket: Path) -> AsyncIterator[Redis]:
    async with Redis(unix_socket_path=str(redis_socket), db=11, decode_responses=True) as client:
        yield client
        await client.flushdb()


@pytest.fixture
async def nobody() -> AsyncIterator[Redis]:
    """A client of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with new_client(f"redis://:canary@127.0.0.1:{taken.getsockname()[1]}/0", retries=0) as client:
            yield client


@pytest.fixture
async def real_now(redis: Redis) -> datetime:
    """The store's time, by which a reading goes."""
    return await store_now(redis)


async def record(ledger: Ledger, *runs: RunRequest) -> None:
    await ledger.record_many((run, None, None) for run in runs)


# Runs


async def test_what_an_alert_counts_is_there_before_it_first_happens(ledger: Ledger, broker: Redis) -> None:
    reading = await read(ledger, broker)
    assert reading.by("runs_ended_total") == {("done",): 0, ("skipped",): 0, ("failed",): 0}
    assert reading.by("slots_skipped_total") == {("missed",): 0, ("overlap",): 0, ("other",): 0}
    assert (reading["attempts_total"], reading["leases_lost_total"], reading["cost_usd_total"]) == (0, 0, 0)
    assert reading.by("processes_alive") == {("beat",): 0, ("worker",): 0}
    assert (reading["beat_lease_held"], reading["pulse_held"], reading["store_up"]) == (0, 0, 1)


async def test_open_runs_are_told_by_queue_and_state_with_who_is_hinted_and_how_late_the_latest_is(
    ledger: Ledger, broker: Redis, real_now: datetime
) -> None:
    runs = [request("news", real_now - HOUR + timedelta(seconds=n)) for n in range(3)]
    await record(ledger, *runs)
    await ledger.look("pulse")
    await ledger.claim(runs[0].id, worker="w", message="m")
    await record(ledger, request("later", real_now + HOUR, queue="graph"))

    reading = await read(ledger, broker)
    assert reading.some("runs_open") == {("io", "running"): 1, ("io", "waiting"): 2, ("graph", "waiting"): 1}
    assert reading["runs_hinted"] == 2
    late = reading.some("run_lag_seconds")
    assert set(late) == {("io",)}  # what is not yet ready is not late
    assert late["io",] == pytest.approx(3599, abs=10)  # nor does the run count that a worker has


async def test_many_open_runs_are_estimated_from_a_few_and_cost_no_more_commands(
    ledger: Ledger, broker: Redis, redis: Redis, real_now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SAMPLE", 10)
    await read(ledger, broker)  # connects
    commands = []
    for more in range(2):
        await record(ledger, *(request(f"{more}-{n}", real_now, queue="io") for n in range(60)))
        before = (await redis.info("stats"))["total_commands_processed"]
        reading = await read(ledger, broker)
        commands.append((await redis.info("stats"))["total_commands_processed"] - before)
        assert reading.some("runs_open") == {("io", "waiting"): pytest.approx(60 * (more + 1))}
    assert commands[0] == commands[1] < 60


async def test_the_run_that_nobody_was_told_of_for_longest_is_seen_whoever_is_chosen(
    ledger: Ledger, broker: Redis, real_now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SAMPLE", 1)
    await record(ledger, *(request("news", real_now + n * HOUR) for n in range(-1, 200)))
    assert (await read(ledger, broker)).by("run_lag_seconds")["io",] == pytest.approx(3600, abs=10)


async def test_whatever_rows_say_labels_stay_few_and_name_no_run(
    ledger: Ledger, broker: Redis, real_now: datetime
) -> None:
    strange = request("strange-source", real_now, queue="strange-queue")
    missed = Missed("strange-source", 2, real_now, real_now, reason="strange reason")
    await ledger.record(strange, missed=missed)
    reading = await read(ledger, broker)
    assert "strange" not in reading.text
    assert reading.some("runs_open") == {("other", "waiting"): 1}
    assert reading.some("slots_skipped_total") == {("other",): 2}


async def test_attempts_lost_leases_ends_skips_and_cost_are_counted_once_and_as_the_day_has_them(
    redis: Redis, keys: Keys, broker: Redis, now: datetime
) -> None:
    clock = Clock(now)
    ledger = Ledger(redis, keys, Rules(attempts=3), clock=clock)
    news, mail = request("news", now, lane="desk"), request("mail", now)
    await record(ledger, news, mail)
    overlapping = request("late-news", now, lane="desk", overlap=Overlap.SKIP)
    await ledger.record(overlapping, missed=Missed("news", 4, now, now))
    await ledger.record(overlapping)
    for run in (news, mail):  # each is lost once: one is missed by a claim, the other by a look
        await ledger.claim(run.id, worker="w1", message="m1")
    clock.now += ledger.rules.lease
    for run, end in ((news, done()), (mail, failed("refused"))):
        claimed = await ledger.claim(run.id, worker="w2", message="m2")
        assert not isinstance(claimed, str)
        await ledger.settle(run.id, claimed.token, end, cost=1_250_000)
        await ledger.settle(run.id, claimed.token, end, cost=1_250_000)
        await ledger.look("pulse")

    reading = await read(ledger, broker)
    assert (reading["attempts_total"], reading["leases_lost_total"]) == (4, 2)
    assert reading.by("runs_ended_total") == {("done",): 1, ("skipped",): 0, ("failed",): 1}
    assert reading.some("slots_skipped_total") == {("missed",): 4, ("overlap",): 1}
    assert reading["cost_usd_total"] == 2.5
    assert reading["runs_dead"] == 1

    by_kind: Counter[str] = Counter()
    for (_, kind), number in (await ledger.tally(now.date())).items():
        by_kind[kind] += number
    assert {what: int(number) for what, number in (await redis.hgetall(keys.total)).items()} == by_kind


# Who keeps the pace


async def test_leases_are_told_while_they_are_held(ledger: Ledger, broker: Redis, redis: Redis) -> None:
    await redis.set(ledger.keys.beat_lease, "beat", px=9_000)
    await ledger.look("pulse")
    reading = await read(ledger, broker)
    assert (reading["beat_lease_held"], reading["pulse_held"]) == (1, 1)
    assert 8 < reading["beat_lease_ttl_seconds"] <= 9
    assert reading["events_kept"] == 0


async def test_slots_and_schedules_that_nobody_records_fall_behind(
    ledger: Ledger, broker: Redis, redis: Redis, real_now: datetime
) -> None:
    await redis.zadd(ledger.keys.beat_index, {"coming": (real_now + HOUR).timestamp()})
    await redis.zadd(ledger.keys.due, {"coming": to_ms(real_now + HOUR)})
    reading = await read(ledger, broker)
    assert (reading["slot_lag_seconds"], reading["schedule_lag_seconds"]) == (0, 0)

    await redis.zadd(ledger.keys.beat_index, {"late": (real_now - HOUR).timestamp()})
    await redis.zadd(ledger.keys.due, {"late": to_ms(real_now - 2 * HOUR)})
    reading = await read(ledger, broker)
    assert reading["slot_lag_seconds"] == pytest.approx(3600, abs=10)
    assert reading["schedule_lag_seconds"] == pytest.approx(7200, abs=10)


async def test_processes_tell_what_they_consume_how_busy_they_are_and_who_was_restarted(
    ledger: Ledger, broker: Redis, redis: Redis, keys: Keys
) -> None:
    for name, queues, running in (("w1", ["io", "graph"], 3), ("w2", ["io"], 4), ("gone", ["memory"], 9)):
        facts = {"queues": queues, "pool": {"limit": 10, "running": running}}
        await report(redis, keys, name, "worker", facts)
    await redis.zincrby(keys.processes, -60_000, "gone")
    children = [{"name": "beat", "restarts": 2}, {"name": "worker", "restarts": 0}]
    await report(redis, keys, "up", "supervisor", {"children": children})

    reading = await read(ledger, broker)
    assert reading.by("processes_alive") == {("beat",): 0, ("worker",): 2, ("supervisor",): 1}
    assert reading.some("queue_consumers") == {("io",): 2, ("graph",): 1}
    assert (reading["worker_slots_limit"], reading["worker_slots_running"]) == (20, 7)
    assert reading.by("process_restarts_total") == {("beat",): 2, ("worker",): 0}


async def test_jobs_and_switches_are_told_as_they_stand(ledger: Ledger, broker: Redis, redis: Redis) -> None:
    standing = {"a": (True, False), "b": (False, False), "c": (False, True), "d": (True, False)}
    changes = redis.pipeline()
    store_table(
        changes,
        ledger.keys,
        [JobStatus(job, on, "", broken=broken) for job, (on, broken) in standing.items()],
    )
    await changes.execute()
    reading = await read(ledger, broker)
    assert reading.by("jobs") == {("on",): 2, ("off",): 1, ("broken",): 1}
    assert reading.some("queue_closed") == {}

    await Switches(redis, ledger.keys, Settings()).set("chat_llm_enabled", False)
    reading = await read(ledger, broker)
    assert reading.by("switch_on")["chat_llm_enabled",] == 0
    assert set(reading.some("queue_closed")) == {("agents",), ("heartbeat",), ("memory",)}


# The broker, and servers that are away


async def test_messages_are_told_by_where_they_are(ledger: Ledger, broker: Redis) -> None:
    await broker.lpush(f"{ledger.keys.broker_prefix}io", "a", "b")
    await broker.hset(f"{ledger.keys.broker_prefix}unacked", "tag", "c")
    await broker.lpush(f"{ledger.keys.broker_prefix}unreadable", "d", "e", "f")
    reading = await read(ledger, broker)
    assert reading.some("queue_length") == {("io",): 2}
    assert (reading["messages_unacked"], reading["messages_unreadable"], reading["broker_up"]) == (1, 3, 1)


async def test_all_but_the_queues_is_told_while_the_broker_is_away(
    ledger: Ledger, nobody: Redis, real_now: datetime
) -> None:
    await record(ledger, request("news", real_now))
    reading = await read(ledger, nobody)
    assert (reading["store_up"], reading["broker_up"]) == (1, 0)
    assert reading.some("runs_open") == {("io", "waiting"): 1}
    assert reading.by("queue_length") == {}


async def test_the_queues_are_told_while_the_store_is_away(keys: Keys, nobody: Redis, broker: Redis) -> None:
    reading = await read(Ledger(nobody, keys), broker)
    assert (reading["store_up"], reading["broker_up"]) == (0, 1)
    assert reading.by("runs_open") == {}
    assert "canary" not in reading.text


async def test_a_server_that_accepts_and_never_answers_holds_a_reading_up_for_a_moment_only(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", timedelta(milliseconds=50))

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, new_client(f"redis://127.0.0.1:{port}/0") as frozen, asyncio.timeout(5):
        reading = await read(ledger, frozen)
    assert (reading["store_up"], reading["broker_up"]) == (1, 0)


# Deliveries


async def test_deliveries_are_counted_by_where_they_stand_and_by_what_they_came_to(
    ledger: Ledger, broker: Redis
) -> None:
    switches = Switches(ledger.redis, ledger.keys, Settings())
    deliveries = Deliveries(ledger.redis, ledger.keys, switches)
    for number in range(3):
        await deliveries.request(NewDelivery("r@1", ChannelRef("chat", "1"), "text", number))
    for _ in range(2):
        await deliveries.unknown("r@1/0", "the answer was lost")
    await deliveries.sent("r@1/0", message_id="m")

    told = await read(ledger, broker)
    standing = {("requested",): 2, ("sent",): 1, ("failed",): 0, ("unknown",): 0, ("suppressed",): 0}
    assert told.by("deliveries") == standing
    assert told.by("deliveries_total") == standing | {("requested",): 3, ("unknown",): 1}
