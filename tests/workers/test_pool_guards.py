"""What holds the pools together when something around them goes wrong, seen from inside one process."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task, current_task
from celery.worker import state

import workers.pool
from nightshift.base.errors import NotPossible
from tests.workers.conftest import PATIENCE, until
from workers.coroutines import Stoppable, is_coroutine_task, loop_thread
from workers.pool import AsyncioPool, StopReason, ThreadPool, awaited, run_coroutine

app = Celery("pool_guards", set_as_current=False)


def a_task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``app.task``, with types."""
    task: Callable[[Callable[..., Any]], Any] = app.task(**options)
    return task


@a_task()
@awaited
async def call(what: Callable[[], Any]) -> Any:
    return await what()


@a_task()
def call_plainly(what: Callable[[], Any]) -> Any:
    return what()


class CoroutineTask(Task):  # type: ignore[misc]  # Celery ships no types
    """A base that awaits, instead of the decorator."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return run_coroutine(super().__call__(*args, **kwargs))


@a_task(base=CoroutineTask)
async def call_undecorated(what: Callable[[], Any]) -> Any:
    return await what()


class Called:
    """Stands for a worker's request: it has told the pool what to call back, and notes what is called."""

    def __init__(self, pool: AsyncioPool, task: Any, what: Callable[[], Any], **options: Any) -> None:
        self.accepted = threading.Event()
        self.settled = threading.Event()
        self.outcome: Any = None
        self.revoked: list[int] = []
        self.execution = weakref.ref(
            pool.apply_async(
                lambda _: task(what),
                (task.name,),
                accept_callback=self.on_accepted,
                callback=partial(self.settle, "succeeded"),
                error_callback=partial(self.settle, "failed"),
                timeout_callback=self.on_timeout,
                **options,
            )
        )

    def on_accepted(self, pid: int, _: float) -> None:
        self.pid = pid
        self.accepted.set()

    def on_timeout(self, soft: bool, limit: float) -> None:
        if not soft:
            self.settle("timed out", limit)

    def settle(self, how: str, value: Any) -> None:
        self.outcome = how, value
        self.settled.set()

    def terminate(self, pool: AsyncioPool, signum: int) -> None:
        pool.terminate_job(self.pid, signum)
        self.revoked.append(signum)

    def wait(self) -> Any:
        assert self.settled.wait(PATIENCE)
        return self.outcome


@pytest.fixture(params=[AsyncioPool, ThreadPool])
def start_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., AsyncioPool]]:
    """Start a pool as a worker's main thread does, and leave no trace of it in this process."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
    handlers = [signal.getsignal(signum) for signum in signals]
    started: list[AsyncioPool] = []

    def start(limit: int = 2, **options: Any) -> AsyncioPool:
        pool: AsyncioPool = request.param(limit=limit, app=app, **options)
        pool.start()
        started.append(pool)
        return pool

    yield start
    for pool in started:
        pool.terminate()
    for signum, handler in zip(signals, handlers, strict=True):
        signal.signal(signum, handler)


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_limits_of_the_whole_worker_hold_for_messages_without_their_own(start_pool: Any) -> None:
    pool = start_pool(timeout=0.1)

    assert Called(pool, call, wait_for_ever).wait() == ("timed out", 0.1)
    assert Called(pool, call, partial(asyncio.sleep, 0.15), timeout=PATIENCE).wait()[0] == "succeeded"


def test_a_soft_limit_leaves_no_cancellation_behind(start_pool: Any) -> None:
    async def heed() -> int:
        try:
            await wait_for_ever()
        except SoftTimeLimitExceeded:
            task = asyncio.current_task()
            assert task
            return task.cancelling()
        return -1

    assert Called(start_pool(soft_timeout=0.1), call, heed).wait() == ("succeeded", 0)


def test_an_error_in_celerys_callbacks_neither_ends_the_loop_nor_keeps_the_slot(start_pool: Any) -> None:
    pool = start_pool(limit=1)

    def fail(*_: Any) -> None:
        raise SystemExit

    for broken in ("accept_callback", "callback"):
        pool.apply_async(lambda _: None, (call.name,), **{broken: fail})

    assert Called(pool, call, partial(asyncio.sleep, 0)).wait()[0] == "succeeded"


def test_plain_functions_take_their_slots_from_the_same_limit(start_pool: Any) -> None:
    pool = start_pool(limit=2)
    free = threading.Event()
    called = [Called(pool, call_plainly, free.wait) for _ in range(3)]
    called[0].accepted.wait(PATIENCE)
    called[1].accepted.wait(PATIENCE)
    until(lambda: pool.info["waiting"] == 1)

    assert not called[2].accepted.is_set()
    free.set()
    assert [one.wait()[0] for one in called] == ["succeeded"] * 3


def test_a_task_that_gets_no_thread_fails_and_frees_its_slot(start_pool: Any) -> None:
    pool = start_pool(limit=1)
    before = threading.stack_size(1 << 46)  # more than any machine has
    try:
        how, error = Called(pool, call_plainly, bool).wait()
    finally:
        threading.stack_size(before)

    assert (how, error.type) == ("failed", RuntimeError)
    assert Called(pool, call_plainly, bool).wait() == ("succeeded", False)


def test_a_revocation_that_comes_between_acceptance_and_notice_is_not_lost(start_pool: Any) -> None:
    pool = start_pool()
    called = Called(pool, call, wait_for_ever)
    called.accepted.wait(PATIENCE)
    execution = called.execution()
    assert execution

    execution.terminate(signal.SIGTERM)  # Celery has not called terminate_job: it thought that the task waits

    until(lambda: pool.info["running"] == 0)
    assert called.revoked == [signal.SIGTERM]
    assert not called.settled.is_set()


def test_a_task_stopped_before_its_first_step_never_takes_it(start_pool: Any) -> None:
    pool = start_pool()
    steps: list[str] = []

    async def step() -> None:
        steps.append("first")

    def stop(pid: int, _: float) -> None:
        loop_thread().loop.call_soon(pool.terminate_job, pid)  # after its beginning, before its step

    pool.apply_async(lambda _: call.run(step), (call.name,), accept_callback=stop)

    assert Called(pool, call, partial(asyncio.sleep, 0)).wait()[0] == "succeeded"
    until(lambda: pool.info["running"] == 0)
    assert not steps


def test_a_plain_function_revoked_as_it_is_accepted_never_begins(
    start_pool: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pool = start_pool(limit=1)
    free = threading.Event()
    begun: list[bool] = []
    told = {"accept_callback": lambda pid, _: pool.terminate_job(pid)}

    Called(pool, call_plainly, free.wait)
    pool.apply_async(lambda _: begun.append(True), (call_plainly.name,), **told)
    after = Called(pool, call_plainly, bool)
    free.set()

    assert after.wait()[0] == "succeeded"
    assert not begun
    assert not caplog.records


def test_work_stopped_before_its_first_step_is_played_for_the_thread_that_waits_for_it() -> None:
    work = Stoppable()
    played = threading.Event()

    def begin_and_stop() -> None:
        work.begin(played.set)
        work.stop(StopReason.TERMINATED)

    loop_thread().call(begin_and_stop)

    assert played.wait(PATIENCE)


def test_a_task_stopped_for_a_second_reason_is_settled_for_that_one(start_pool: Any) -> None:
    pool = start_pool()
    cleaning = threading.Event()

    async def clean_up() -> None:
        try:
            await wait_for_ever()
        finally:
            cleaning.set()
            await asyncio.sleep(0.1)

    called = Called(pool, call, clean_up, timeout=0.05)
    assert cleaning.wait(PATIENCE)
    pool.terminate_job(called.pid)  # revoked, and so settled by Celery, while it still cleans up

    until(lambda: pool.info["running"] == 0)
    assert not called.settled.is_set()


def test_nothing_is_left_on_the_loop_by_a_coroutine_that_had_to_be_closed(
    start_pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.pool, "GRACE", 0.1)
    seen: list[str] = []

    async def refuse() -> None:
        while True:
            try:
                await wait_for_ever()
            except asyncio.CancelledError as stop:
                seen.append(*stop.args)

    assert Called(start_pool(), call, refuse, timeout=0.1).wait() == ("timed out", 0.1)
    assert seen == [StopReason.TIME_LIMIT]
    until(lambda: not asyncio.all_tasks(loop_thread().loop))


def abandon(coroutine: Coroutine[Any, Any, None]) -> None:
    """Begin, stop and abandon a coroutine on the loop, and wait for all of it."""
    work = Stoppable()
    played = threading.Event()

    def play() -> None:
        with suppress(BaseException):
            run_coroutine(coroutine)
        played.set()

    async def stop_and_abandon() -> None:
        work.begin(play)
        await asyncio.sleep(0.01)
        work.stop(StopReason.TIME_LIMIT)
        await asyncio.sleep(0.01)
        work.abandon()

    asyncio.run_coroutine_threadsafe(stop_and_abandon(), loop_thread().loop).result(PATIENCE)
    assert played.is_set()


def test_an_abandoned_coroutine_leaves_all_its_blocks_however_often_they_await() -> None:
    left: list[str] = []

    async def clean_up_slowly() -> None:
        try:
            try:
                await wait_for_ever()
            finally:
                await wait_for_ever()
        finally:
            left.append("inner")
            try:
                await wait_for_ever()
            finally:
                left.append("outer")

    coroutine = clean_up_slowly()
    abandon(coroutine)

    assert left == ["inner", "outer"]


def test_an_abandoned_coroutine_that_never_ends_is_closed_by_the_loops_thread_only() -> None:
    closed_by: list[str] = []
    quiet = False

    async def refuse() -> None:
        while True:
            try:
                await wait_for_ever()
            except BaseException:
                if quiet:  # at the end of the process
                    raise
                closed_by.append(threading.current_thread().name)

    abandon(refuse())
    gc.collect()

    assert set(closed_by) == {"coroutines"}
    quiet = True


def test_what_waits_is_forgotten_when_the_connection_is_gone(start_pool: Any) -> None:
    pool = start_pool(limit=1)
    running = Called(pool, call, wait_for_ever)
    waiting = Called(pool, call, wait_for_ever)
    running.accepted.wait(PATIENCE)
    until(lambda: pool.info["waiting"] == 1)

    pool.flush()
    pool.terminate_job(running.pid)

    until(lambda: pool.info["running"] == 0)
    assert not waiting.accepted.is_set()


def test_a_task_is_freed_at_once_when_it_is_settled(start_pool: Any) -> None:
    gc.disable()
    try:
        called = Called(start_pool(timeout=PATIENCE), call, partial(asyncio.sleep, 0))
        called.wait()
        until(lambda: called.execution() is None)
    finally:
        gc.enable()


def test_celerys_requests_can_be_walked_while_others_come(start_pool: Any) -> None:
    class Request:
        """Can be referred to weakly."""

    requests = [Request() for _ in range(3)]
    start_pool()
    state.active_requests.update(requests[:2])

    for request in state.active_requests:
        state.active_requests.add(requests[2])
        assert request in requests

    assert len(state.active_requests) == 3


def test_a_pool_gives_up_no_more_slots_than_it_has(start_pool: Any) -> None:
    pool = start_pool(limit=2)
    pool.shrink(2)

    with pytest.raises(NotPossible, match="cannot take 1 slots from a pool of 0"):
        pool.shrink(1)


def test_an_undecorated_async_def_counts_as_a_coroutine_task_too(start_pool: Any) -> None:
    called = Called(start_pool(), call_undecorated, partial(asyncio.sleep, 0, "done"))

    assert called.wait() == ("succeeded", "done")
    assert is_coroutine_task(call_undecorated)


def test_apply_runs_the_coroutine_with_its_request() -> None:
    async def who() -> tuple[str, str]:
        await asyncio.sleep(0)
        return current_task.request.id, call.request.id

    assert call.apply((who,), task_id="me").get() == ("me", "me")
    assert current_task is None or not current_task


def test_arguments_are_checked_when_the_task_is_sent() -> None:
    with pytest.raises(TypeError):
        call.apply_async(("too", "many"))


def test_plain_code_on_the_loops_thread_may_not_wait_for_the_loop() -> None:
    async def call_without_awaiting() -> None:
        call.run(wait_for_ever)

    waiting = asyncio.run_coroutine_threadsafe(call_without_awaiting(), loop_thread().loop)

    with pytest.raises(NotPossible, match="await the coroutine"):
        waiting.result(PATIENCE)


def test_a_forked_child_starts_a_loop_of_its_own() -> None:
    script = """
import asyncio, os
from workers.coroutines import run_coroutine
assert run_coroutine(asyncio.sleep(0, "parent")) == "parent"
if os.fork() == 0:
    print(run_coroutine(asyncio.sleep(0, "child")), flush=True)
else:
    assert os.wait()[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], stdout=-1, timeout=PATIENCE, check=True
    )

    assert done.stdout == b"child\n"
