"""
The worker pools: ``worker_pool = "workers.pool:AsyncioPool"``, or ``"workers.pool:ThreadPool"``.

Both give every task an id of its own in place of a pid, a deadline, and a way to be stopped; both begin
nothing new once the worker drains, and leave to the broker what they have not begun.

What cannot be stopped is a plain function, in either pool: there is no safe way to end a thread. When its
time is up, or it is revoked, its task is settled and its slot is free at once, as the operator who set the
limit expects; its thread runs on, counted in ``info``, and what it returns is ignored.
"""

from __future__ import annotations

import gc
import itertools
import signal
import threading
import time
from asyncio import TimerHandle
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any
from weakref import ref

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import _run_ready_callbacks
from celery.exceptions import WorkerLostError
from celery.utils.log import get_logger
from celery.worker import state
from kombu.asynchronous import get_event_loop

from nightshift.base.errors import NotPossible
from workers.coroutines import (
    Stoppable,
    StopReason,
    awaited,
    draining,
    is_coroutine_task,
    loop_thread,
    run_coroutine,
    work_of_this_thread,
)

__all__ = ["AsyncioPool", "StopReason", "ThreadPool", "awaited", "draining", "run_coroutine"]

logger = get_logger(__name__)

#: Seconds that a cancelled coroutine may spend on its ``except`` and ``finally`` blocks.
GRACE = 5.0

#: Seconds between two looks for acknowledgements to send while the worker waits for its last tasks.
TICK = 0.02

#: New objects between two looks of the garbage collector's. With a thousand tasks alive, Python's own 2000
#: cost a tenth of the throughput (``bench/pool``).
COLLECT_EVERY = 20_000

#: Beyond every pid there is, so that whoever kills a "pid" from ``inspect active`` hits nobody.
FIRST_ID = 1 << 32


class PoolTooSmall(NotPossible):
    """More slots were to be taken away than the pool has."""


class Execution(Stoppable):
    """One task of the pool's, from Celery's handing it over until it is settled."""

    _ids = itertools.count(FIRST_ID)

    def __init__(self, pool: AsyncioPool, trace: Callable[[], Any], is_coroutine: bool, **told: Any) -> None:
        super().__init__()
        self.id = next(self._ids)
        self.is_coroutine = is_coroutine
        self.begun = False
        self.task_id = told.get("correlation_id")
        self.timeout: float | None = told.get("timeout") or pool.options.get("timeout")
        self.soft_timeout: float | None = told.get("soft_timeout") or pool.options.get("soft_timeout")
        self.timers: list[TimerHandle] = []
        self.outcome: Any = None
        self.error: Any = None
        self.accepted: Callable[..., None] | None = told.get("accept_callback")
        self.succeeded: Callable[..., None] | None = told.get("callback")
        self.failed: Callable[..., None] | None = told.get("error_callback")
        self.timed_out: Callable[..., None] | None = told.get("timeout_callback")
        self._trace = trace
        self._pool = ref(pool)

    def trace(self) -> None:
        """Run Celery's tracer, and remember how it ended."""
        try:
            self.outcome = self._trace()
        except Exception:
            self.error = ExceptionInfo()
        except BaseException as exc:
            # In a prefork child this would have ended the process, and Celery knows what to do then.
            lost = WorkerLostError(f"the task's body ended with {exc!r}: raise an Exception instead")
            self.error = ExceptionInfo((WorkerLostError, lost, exc.__traceback__))

    def __str__(self) -> str:
        return f"task {self.task_id}"

    def drop_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def terminate(self, signum: int) -> None:
        """Called by Celery when it revokes the task, in case the pool has begun it at that very moment."""
        pool = self._pool()
        if pool is not None:
            pool.terminate_execution(self, signum)


class AsyncioPool(BasePool):  # type: ignore[misc]  # Celery ships no types
    """
    Runs tasks whose body is a coroutine on one asyncio loop, hundreds at once.

    Plain functions run in threads beside it, and take their slots from the same limit.
    """

    signal_safe = False
    body_can_be_buffer = True

    # All that changes is touched by the loop's thread only; Celery's main thread asks it to.

    def on_start(self) -> None:
        self._home = loop_thread()
        self._home.call(self._home.draining.clear)
        self._waiting: deque[Execution] = deque()
        self._running: dict[int, Execution] = {}
        self._threads = 0
        self._free_threads: list[SimpleQueue[Execution]] = []
        self._idle = False
        self._patience = GRACE + 1
        gc.set_threshold(COLLECT_EVERY)
        for requests in (state.active_requests, state.reserved_requests):
            requests.data = _StableSet(requests.data)
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
                handler = signal.getsignal(signum)
                if callable(handler):
                    signal.signal(signum, partial(self._drain_first, handler))

    def on_close(self) -> None:
        self._home.call(self._drain)

    def on_stop(self) -> None:
        """Wait for the tasks that run: until they end, or in a cold shutdown until they have cleaned up."""
        self._home.call(self._drain)
        while self._has_work_after_a_tick(cold=_shutdown_is_cold()):
            # In a cold shutdown this may be its signal handler, which has interrupted Celery's own loop
            # anywhere: that loop acknowledges when it comes back.
            if not _shutdown_is_cold() and (hub := get_event_loop()) is not None:
                _run_ready_callbacks(hub)

    def on_terminate(self) -> None:
        self._home.call(self._drain)
        self._home.call(self._stop_all)
        while self._has_work_after_a_tick(cold=True):
            pass

    def _has_work_after_a_tick(self, *, cold: bool) -> bool:
        """Sleep a little, and say whether tasks are still running that are worth waiting for."""
        # Takes no lock, because a signal handler may wait here while the code that it interrupted does.
        time.sleep(TICK)
        if cold:
            self._patience -= TICK
        return not self._idle and self._patience > 0

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        **told: Any,
    ) -> Execution:
        execution = Execution(
            self, partial(target, *args, **(kwargs or {})), is_coroutine=self._is_coroutine(args), **told
        )
        self._home.call(self._take_in, execution)
        return execution

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Cancel the running task with this id; its message is settled by whoever asks."""
        if self._home.is_current():
            self._terminate(pid)
        else:
            self._home.call(self._terminate, pid)

    def terminate_execution(self, execution: Execution, signum: int) -> None:
        self._home.call(self._terminate_if_missed, execution, signum)

    def grow(self, n: int = 1) -> None:
        self.limit += n
        self._home.call(self._begin_waiting)

    def shrink(self, n: int = 1) -> None:
        """Take slots away; tasks that run keep theirs until they end."""
        if n > self.limit:
            raise PoolTooSmall(f"cannot take {n} slots from a pool of {self.limit}: take fewer")
        self.limit -= n

    def flush(self) -> None:
        """Forget what has not begun: the broker connection is gone, so it will be delivered again."""
        self._home.call(self._waiting.clear)

    def _get_info(self) -> dict[str, Any]:
        return {
            **super()._get_info(),
            "limit": self.limit,
            "running": len(self._running),
            "waiting": len(self._waiting),
            "threads": self._threads,
        }

    def _is_coroutine(self, args: tuple[Any, ...]) -> bool:
        task = self.app.tasks.get(args[0]) if args else None
        return task is not None and is_coroutine_task(task)

    def _drain_first(
        self, handler: Callable[[int, FrameType | None], Any], signum: int, frame: FrameType | None
    ) -> None:
        # Celery tells of a cold shutdown only after its soft timeout, which is too late to hand work back.
        self._home.call(self._drain)
        handler(signum, frame)

    def _drain(self) -> None:
        self._home.draining.set()
        if not self._running:
            self._idle = True

    def _take_in(self, execution: Execution) -> None:
        self._waiting.append(execution)
        self._begin_waiting()

    def _begin_waiting(self) -> None:
        while self._waiting and len(self._running) < self.limit and not self._home.draining.is_set():
            self._begin(self._waiting.popleft())

    def _begin(self, execution: Execution) -> None:
        self._running[execution.id] = execution
        _call(execution.accepted, execution.id, time.monotonic())
        if execution.stopping is not None:  # revoked while it waited, and settled by Celery just now
            del self._running[execution.id]
            return
        execution.begun = True
        if execution.soft_timeout:
            self._schedule(execution, execution.soft_timeout, self._warn)
        if execution.timeout:
            self._schedule(execution, execution.timeout, self._stop, StopReason.TIME_LIMIT)
        self._run(execution)

    def _schedule(self, execution: Execution, seconds: float, do: Callable[..., None], *args: Any) -> None:
        execution.timers.append(self._home.loop.call_later(seconds, do, execution, *args))

    def _run(self, execution: Execution) -> None:
        if execution.is_coroutine:
            execution.begin(execution.trace).add_done_callback(lambda _: self._settle(execution))
        else:
            self._run_in_thread(execution)

    def _run_in_thread(self, execution: Execution) -> None:
        try:
            thread = self._free_threads.pop() if self._free_threads else self._start_thread()
        except RuntimeError:  # the process may have no more threads
            execution.error = ExceptionInfo()
            self._home.call(self._settle, execution)
        else:
            self._threads += 1
            thread.put(execution)

    def _start_thread(self) -> SimpleQueue[Execution]:
        given: SimpleQueue[Execution] = SimpleQueue()
        threading.Thread(target=self._work_off, args=(given,), daemon=True).start()
        return given

    def _work_off(self, given: SimpleQueue[Execution]) -> None:
        while True:
            self._trace_in_thread(given.get(), given)

    def _trace_in_thread(self, execution: Execution, thread: SimpleQueue[Execution]) -> None:
        work_of_this_thread(execution)
        execution.trace()
        work_of_this_thread(None)
        self._home.call(self._free_thread, thread, execution)

    def _free_thread(self, thread: SimpleQueue[Execution], execution: Execution) -> None:
        self._threads -= 1
        self._free_threads.append(thread)
        self._settle(execution)

    def _warn(self, execution: Execution) -> None:
        _call(execution.timed_out, True, execution.soft_timeout)
        execution.warn(execution.soft_timeout or 0)

    def _terminate(self, pid: int) -> None:
        if execution := self._running.get(pid):
            in_shutdown = self._home.draining.is_set()
            self._stop(execution, StopReason.SHUTDOWN if in_shutdown else StopReason.TERMINATED)

    def _terminate_if_missed(self, execution: Execution, signum: int) -> None:
        # Celery has found the task not begun, and left word for the moment it is accepted. If that was
        # a moment ago the word came too late, and only the request can revoke it.
        request = getattr(execution.accepted, "__self__", None)
        if execution.id in self._running and execution.stopping is None and request is not None:
            _call(request.terminate, self, signum)

    def _stop_all(self) -> None:
        for pid in tuple(self._running):
            self._terminate(pid)

    def _stop(self, execution: Execution, reason: StopReason) -> None:
        if execution.stopping is not None or not execution.begun:
            execution.stopping = reason  # whoever stops it last settles it
            return
        execution.drop_timers()
        execution.stop(reason)
        if execution.is_coroutine:
            self._schedule(execution, GRACE, self._abandon)
        else:
            logger.warning(
                "%s (%s): a plain function cannot be stopped, its thread runs on", execution, reason
            )
            self._settle(execution)

    def _abandon(self, execution: Execution) -> None:
        logger.error(
            "%s (%s): did not end within %s s of being cancelled", execution, execution.stopping, GRACE
        )
        execution.abandon()
        self._settle(execution)

    def _settle(self, execution: Execution) -> None:
        if self._running.pop(execution.id, None) is None:
            return  # settled before it ended
        execution.drop_timers()
        if execution.stopping is StopReason.TIME_LIMIT:
            _call(execution.timed_out, False, execution.timeout)
        elif execution.stopping is not None:
            pass  # Celery has announced it: acknowledged if revoked, left to the broker in a shutdown
        elif execution.error is not None:
            _call(execution.failed, execution.error)
        else:
            _call(execution.succeeded, execution.outcome)
        self._begin_waiting()
        if self._home.draining.is_set() and not self._running:
            self._idle = True


class ThreadPool(AsyncioPool):
    """
    The fallback: every task has a thread to itself, and its coroutine runs on the process's loop meanwhile.

    Limits, revoking and draining are those of the AsyncioPool.
    """

    def _run(self, execution: Execution) -> None:
        self._run_in_thread(execution)


class _StableSet(set[Any]):
    """Iterates over a copy: Celery's main thread walks its requests while ours adds to them."""

    def __iter__(self) -> Iterator[Any]:
        return set.__iter__(self.copy())


def _shutdown_is_cold() -> bool:
    return state.should_terminate not in (None, False)


def _call(callback: Callable[..., object] | None, *args: Any) -> None:
    """Call back into Celery; an error there must neither end the loop nor keep a slot."""
    if callback is None:
        return
    try:
        callback(*args)
    except BaseException:
        logger.exception("Celery's own callback failed: %r", callback)
