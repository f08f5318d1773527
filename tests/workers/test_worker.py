"""How a worker of ours is started, and how long it takes to stop."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.signals import worker_shutting_down
from celery.worker import state
from kombu import Connection

from nightshift.deployment import process_settings
from nightshift.processes.liveness_file import Liveness
from nightshift.runs.queues import QUEUE_NAMES
from workers.start import worker_arguments
from workers.worker import Consumer, Worker


class Task:
    """What a worker counts as being carried out."""


@pytest.fixture
def running() -> Iterator[Task]:
    task = Task()
    state.active_requests.add(task)
    yield task
    state.active_requests.discard(task)


@pytest.fixture
def liveness(tmp_path: Path) -> Liveness:
    alive = Liveness(tmp_path / "w.alive")
    alive.begin()
    alive.tell_ready(True)
    return alive


def stop(liveness: Liveness, soft_shutdown: float) -> float:
    """Go through the soft shutdown; return the seconds it took."""
    worker = Worker.__new__(Worker)
    worker.liveness = liveness
    worker.app = SimpleNamespace(conf=SimpleNamespace(worker_soft_shutdown_timeout=soft_shutdown))
    worker.hostname = "w@here"
    began = time.monotonic()
    worker.wait_for_soft_shutdown()
    return time.monotonic() - began


def test_an_idle_worker_stops_at_once(liveness: Liveness) -> None:
    assert stop(liveness, soft_shutdown=30) < 5


def test_a_task_that_does_not_end_is_waited_for_until_the_soft_shutdown_is_over(
    running: Task, liveness: Liveness
) -> None:
    assert stop(liveness, soft_shutdown=0.2) >= 0.2


def test_a_soft_shutdown_is_alive_and_no_longer_ready(running: Task, liveness: Liveness) -> None:
    os.utime(liveness.file, (0, 0))
    stop(liveness, soft_shutdown=0.1)
    assert liveness.file.stat().st_mtime > 0
    assert not liveness.ready_file.exists()


def test_the_pulse_is_asked_to_leave_before_it_is_waited_for(running: Task, liveness: Liveness) -> None:
    def leave(**_: object) -> None:
        state.active_requests.discard(running)

    worker_shutting_down.connect(leave, weak=False)
    try:
        assert stop(liveness, soft_shutdown=30) < 5
    finally:
        worker_shutting_down.disconnect(leave)


class Controller:
    """The worker a consumer belongs to."""

    def __init__(self, liveness: Liveness) -> None:
        self.liveness = liveness


def test_a_consumer_that_waits_for_its_broker_is_alive_and_not_ready(
    liveness: Liveness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda _: None)
    consumer = Consumer.__new__(Consumer)
    consumer.controller = Controller(liveness)
    consumer.app = Celery(set_as_current=False, broker_connection_retry_on_startup=True)
    consumer.first_connection_attempt = True
    consumer.broker_connection_retry_attempt = 0
    os.utime(liveness.file, (0, 0))

    with Connection("redis://127.0.0.1:1/0", transport_options={"max_retries": 0}) as connection:
        monkeypatch.setattr(state, "should_stop", 0)  # Celery looks at it each second that it waits
        with pytest.raises(WorkerShutdown):
            consumer.ensure_connected(connection)

    assert liveness.file.stat().st_mtime > 0
    assert not liveness.ready_file.exists()


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.delenv("NIGHTSHIFT_CONCURRENCY", raising=False)
    process_settings.cache_clear()
    yield monkeypatch
    process_settings.cache_clear()


def test_a_role_decides_queues_and_concurrency_unless_that_is_set(fresh_settings: pytest.MonkeyPatch) -> None:
    upkeep = Namespace(role="upkeep", name=None)
    assert {"--hostname=upkeep@%h", "--queues=heartbeat,memory", "--concurrency=200"} <= set(
        worker_arguments(upkeep)
    )
    fresh_settings.setenv("NIGHTSHIFT_CONCURRENCY", "7")
    process_settings.cache_clear()
    everything = worker_arguments(Namespace(role="all", name="small"))
    assert {"--hostname=small@%h", "--concurrency=7"} <= set(everything)
    (queues,) = (word.partition("=")[2] for word in everything if word.startswith("--queues"))
    assert set(queues.split(",")) == QUEUE_NAMES
