"""Both pools keep what Celery documents, in real workers on a real Redis."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError

from tests.workers import pool_app
from tests.workers.conftest import PATIENCE, StartWorker, Worker, until


def result(sent: Any) -> Any:
    return sent.get(timeout=PATIENCE)


def hear_signals(worker: Worker, sent: Any, count: int) -> list[str]:
    return [worker.hear(f"{sent.id}:signals") for _ in range(count)]


def test_two_hundred_tasks_at_once_each_keep_their_own_request_over_awaits(worker: Worker, gate: str) -> None:
    sent = [worker.send(pool_app.find_itself, gate, 200, number) for number in range(200)]

    assert [result(one) for one in sent] == [[one.id, one.id, number] for number, one in enumerate(sent)]


def test_a_retry_comes_back_after_its_countdown(worker: Worker) -> None:
    sent = worker.send(pool_app.retry_twice)

    assert result(sent) == 2
    assert [worker.hear(f"{sent.id}:signals") for _ in range(3)] == [
        "task_prerun",
        "task_retry",
        "task_postrun",
    ]


def test_autoretry_sees_what_the_coroutine_raises(worker: Worker) -> None:
    assert result(worker.send(pool_app.fail_twice)) == 2


def test_a_failure_is_stored_signalled_and_acknowledged(worker: Worker) -> None:
    sent = worker.send(pool_app.fail)

    with pytest.raises(ValueError, match="as told"):
        result(sent)
    assert [worker.hear(f"{sent.id}:signals") for _ in range(3)] == [
        "task_prerun",
        "task_failure",
        "task_postrun",
    ]
    until(lambda: worker.unacked() == 0)


def test_a_rejected_message_is_delivered_again(worker: Worker, gate: str) -> None:
    assert result(worker.send(pool_app.reject_the_first_delivery, gate)) is True


def test_an_expired_task_is_revoked_and_never_begins(worker: Worker, gate: str) -> None:
    sent = worker.send(pool_app.wait_at, gate, expires=-1)

    assert worker.hear(f"{sent.id}:signals") == "task_revoked"
    until(lambda: worker.unacked() == 0)
    assert not worker.has_told(f"{gate}:begun")


def test_a_task_revoked_before_it_arrives_never_begins(worker: Worker, gate: str) -> None:
    worker.control("revoke", task_id=gate)
    worker.send(pool_app.wait_at, gate, task_id=gate)

    assert worker.hear(f"{gate}:signals") == "task_revoked"
    until(lambda: worker.unacked() == 0)
    assert not worker.has_told(f"{gate}:begun")


def test_terminating_a_task_cancels_that_one_only(worker: Worker, gate: str) -> None:
    sent = worker.send(pool_app.wait_at, gate)
    other = worker.send(pool_app.wait_at, f"{gate}-other")
    worker.hear(f"{gate}:begun")
    worker.hear(f"{gate}-other:begun")

    worker.control("revoke", task_id=sent.id, terminate=True)

    assert worker.hear(f"{gate}:left") == "(<StopReason.TERMINATED: 'terminated'>,)"
    with pytest.raises(TaskRevokedError):
        result(sent)
    until(lambda: worker.unacked() == 1)
    assert "task_success" not in worker.has_told(f"{sent.id}:signals")
    worker.open(f"{gate}-other")
    assert result(other) == "passed"
    until(lambda: worker.unacked() == 0 and worker.pool_info()["running"] == 0)


@pytest.mark.parametrize("task", [pool_app.wait_at, pool_app.wait_briefly_at])
def test_the_hard_limit_of_message_or_task_cancels_the_coroutine(
    worker: Worker, gate: str, task: Any
) -> None:
    sent = worker.send(task, gate, **({"time_limit": 0.2} if task is pool_app.wait_at else {}))

    with pytest.raises(TimeLimitExceeded):
        result(sent)
    assert worker.hear(f"{gate}:left") == "(<StopReason.TIME_LIMIT: 'time limit'>,)"
    until(lambda: worker.unacked() == 0 and worker.pool_info()["running"] == 0)
    told = worker.has_told(f"{sent.id}:signals")
    assert "task_failure" in told
    assert "task_success" not in told


@pytest.mark.parametrize("in_child", [False, True], ids=["itself", "in a child task"])
def test_a_coroutine_that_refuses_to_end_loses_its_slot_all_the_same(
    worker: Worker, gate: str, in_child: bool
) -> None:
    sent = worker.send(pool_app.refuse_to_end, gate, kwargs={"in_child": in_child}, time_limit=0.2)

    worker.hear(f"{gate}:refused")
    with pytest.raises(TimeLimitExceeded):
        result(sent)
    until(lambda: worker.unacked() == 0 and worker.pool_info()["running"] == 0)
    assert worker.pool_info()["threads"] == 0


def test_a_soft_limit_is_raised_once_and_may_be_heeded(worker: Worker, gate: str) -> None:
    sent = worker.send(pool_app.heed_the_warning, gate, soft_time_limit=0.2, time_limit=PATIENCE)

    assert worker.hear(f"{gate}:child ended") == ""
    assert result(sent) == "heeded"


def test_a_soft_limit_that_is_not_heeded_fails_the_task(worker: Worker) -> None:
    with pytest.raises(SoftTimeLimitExceeded) as raised:
        result(worker.send(pool_app.ignore_the_warning, soft_time_limit=0.2))
    assert type(raised.value) is SoftTimeLimitExceeded


@pytest.mark.parametrize("exception", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_no_exception_out_of_a_task_ends_the_loop(worker: Worker, exception: str) -> None:
    with pytest.raises(WorkerLostError, match=exception):
        result(worker.send(pool_app.leave_with, exception))

    assert result(worker.send(pool_app.greet, "you")) == "hello you"


def test_no_exception_out_of_a_child_task_ends_the_loop(worker: Worker) -> None:
    with pytest.raises(WorkerLostError, match="SystemExit"):
        result(worker.send(pool_app.leave_child_with_system_exit))

    assert result(worker.send(pool_app.greet, "you")) == "hello you"


def test_a_blocking_plain_function_does_not_hold_up_coroutines(worker: Worker, gate: str) -> None:
    blocked = worker.send(pool_app.block_at, gate)
    worker.hear(f"{gate}:begun")

    assert result(worker.send(pool_app.greet, "you")) == "hello you"
    until(lambda: worker.pool_info()["running"] == 1)  # its result is there before its slot is free
    assert worker.pool_info() == {
        "implementation": f"workers.pool:{worker.name.partition('@')[0]}",
        "max-concurrency": 250,
        "limit": 250,
        "running": 1,
        "waiting": 0,
        "threads": 1,
    }
    worker.open(gate)
    assert result(blocked) == "passed"


def test_the_limit_of_a_plain_function_frees_its_slot_though_its_thread_runs_on(
    worker: Worker, gate: str
) -> None:
    sent = worker.send(pool_app.block_at, gate, time_limit=0.2)

    with pytest.raises(TimeLimitExceeded):
        result(sent)
    until(lambda: worker.unacked() == 0)
    info = worker.pool_info()
    assert (info["running"], info["threads"]) == (0, 1)
    worker.open(gate)
    until(lambda: worker.pool_info()["threads"] == 0)
    assert worker.has_told(f"{sent.id}:signals").count("task_failure") == 1


def test_an_acknowledgement_does_not_wait_for_the_broker_to_say_something(worker: Worker) -> None:
    result(worker.send(pool_app.greet, "you"))

    # Celery's own loop sleeps for a second when nobody wakes it.
    assert until(lambda: worker.unacked() == 0) < 0.5


def test_calling_another_task_as_plain_code_runs_it_to_its_end(asyncio_worker: Worker) -> None:
    assert result(asyncio_worker.send(pool_app.call_as_plain_code, "you")) == "hello you"


def test_the_same_task_runs_in_a_prefork_child(start_worker: StartWorker, gate: str) -> None:
    worker = start_worker("prefork", "-c", "1")
    sent = worker.send(pool_app.find_itself, gate, 1, 7)

    assert result(sent) == [sent.id, sent.id, 7]


@pytest.mark.parametrize("pool", ["AsyncioPool", "ThreadPool"])
def test_a_pool_can_grow_and_shrink_while_it_works(start_worker: StartWorker, gate: str, pool: str) -> None:
    worker = start_worker(pool, "-c", "1")
    worker.send(pool_app.wait_at, gate)
    waiting = worker.send(pool_app.wait_at, f"{gate}-waiting")
    worker.hear(f"{gate}:begun")
    until(lambda: worker.pool_info()["waiting"] == 1)

    assert worker.control("pool_grow", n=1) == {"ok": "pool will grow"}
    worker.hear(f"{gate}-waiting:begun")

    assert worker.control("pool_shrink", n=1) == {"ok": "pool will shrink"}
    last = worker.send(pool_app.wait_at, f"{gate}-last")
    worker.open(f"{gate}-waiting")
    assert result(waiting) == "passed"
    until(lambda: worker.pool_info()["waiting"] == 1)
    assert not worker.has_told(f"{gate}-last:begun")

    worker.control("revoke", task_id=last.id, terminate=True)  # while it waits: settled when its turn comes
    worker.open(gate)
    assert worker.hear(f"{last.id}:signals") == "task_revoked"
    until(lambda: worker.unacked() == 0)
    assert not worker.has_told(f"{gate}-last:begun")
    assert "cannot take 2 slots from a pool of 1" in worker.control("pool_shrink", n=2)["error"]


@pytest.mark.parametrize("pool", ["AsyncioPool", "ThreadPool"])
def test_a_warm_shutdown_lets_running_tasks_finish_and_begins_no_others(
    start_worker: StartWorker, gate: str, pool: str
) -> None:
    worker = start_worker(pool, "-c", "3")
    heeding = worker.send(pool_app.hand_back_when_draining, gate)
    running = worker.send(pool_app.wait_at, f"{gate}-running")
    blocked = worker.send(pool_app.block_at, f"{gate}-blocked")
    worker.send(pool_app.wait_at, f"{gate}-waiting")
    for begun in (gate, f"{gate}-running", f"{gate}-blocked"):
        worker.hear(f"{begun}:begun")
    until(lambda: worker.unacked() == 4)

    worker.signal(signal.SIGTERM)

    worker.hear(f"{gate}:handed back")
    assert result(heeding) == "handed back"
    until(lambda: worker.unacked() == 3)  # acknowledged while others still run
    worker.open(f"{gate}-running")
    worker.open(f"{gate}-blocked")
    assert worker.wait() == 0
    assert (result(running), result(blocked)) == ("passed", "passed")
    assert (worker.queued(), worker.unacked()) == (1, 0)
    assert not worker.has_told(f"{gate}-waiting:begun")


@pytest.mark.parametrize("pool", ["AsyncioPool", "ThreadPool"])
def test_a_soft_shutdown_warns_waits_cancels_and_hands_back(
    start_worker: StartWorker, gate: str, pool: str
) -> None:
    worker = start_worker(pool, "-c", "5", soft_timeout=1)
    for task, name in (
        (pool_app.hand_back_when_draining, "heeding"),
        (pool_app.wait_at, "quick"),
        (pool_app.wait_at, "long"),
        (pool_app.refuse_to_end, "stubborn"),
        (pool_app.block_at, "blocked"),
    ):
        worker.send(task, f"{gate}-{name}", kwargs={"in_child": False} if name == "stubborn" else None)
        worker.hear(f"{gate}-{name}:begun")

    worker.signal(signal.SIGQUIT)

    worker.hear(f"{gate}-heeding:handed back")  # at once, not after the soft timeout
    worker.open(f"{gate}-quick")
    assert worker.hear(f"{gate}-long:left") == "(<StopReason.SHUTDOWN: 'shutdown'>,)"
    worker.wait()
    assert (worker.queued(), worker.unacked()) == (3, 0)


def test_a_cold_shutdown_waits_for_cleaning_up_only(start_worker: StartWorker, gate: str) -> None:
    worker = start_worker("AsyncioPool", "-c", "2")
    worker.send(pool_app.wait_at, gate)
    worker.hear(f"{gate}:begun")

    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGQUIT)  # not waiting any longer

    assert worker.hear(f"{gate}:left") == "(<StopReason.SHUTDOWN: 'shutdown'>,)"
    worker.wait()
    assert (worker.queued(), worker.unacked()) == (1, 0)


def test_a_coroutine_that_blocks_the_loop_does_not_hold_up_a_cold_shutdown(
    start_worker: StartWorker, gate: str
) -> None:
    worker = start_worker("AsyncioPool", "-c", "2")
    worker.send(pool_app.block_the_loop, gate)
    worker.hear(f"{gate}:begun")

    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGQUIT)

    worker.wait()
    assert (worker.queued(), worker.unacked()) == (1, 0)
