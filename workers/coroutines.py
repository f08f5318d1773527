"""
Coroutines as the bodies of Celery tasks, on one asyncio loop for the whole process.

Celery's tracer is plain code that keeps ``task.request`` and ``current_task`` per greenlet. So a task's
plain code runs in a greenlet on the loop's thread (a *stage*), and its coroutine is stepped inside that
stage: whatever the coroutine awaits, an asyncio task awaits for it. Code that is not on a stage (a thread,
a prefork child, ``apply()`` in a shell) has its coroutine carried out on the same loop, and waits for it.

``task.request`` is there for the coroutine itself, not for the asyncio tasks that it creates: read what
those need first.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import inspect
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from enum import StrEnum
from typing import Any

from celery._state import _task_stack, get_current_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_logger
from greenlet import GreenletExit, getcurrent, greenlet

from nightshift.base.errors import NotPossible

try:
    from uvloop import new_event_loop
except ImportError:  # not built for every platform
    from asyncio import new_event_loop  # type: ignore[assignment]

logger = get_logger(__name__)

#: How long coroutines that nobody stopped may still run once the process is about to exit.
LEFTOVERS_GRACE = 1.0

#: How often a coroutine that is abandoned may await something again before it counts as never ending.
CLOSE_ATTEMPTS = 20


class WouldBlockTheLoop(NotPossible):
    """Waiting here for a coroutine would stop the loop that has to run it."""


class StopReason(StrEnum):
    """Why a coroutine was cancelled: the only argument of the CancelledError that it gets."""

    TIME_LIMIT = "time limit"
    #: Revoked, or its connection to the broker is gone.
    TERMINATED = "terminated"
    SHUTDOWN = "shutdown"


def awaited[**P, R](body: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """
    Make an ``async def`` the body of a Celery task, in any pool.

    Goes under the task decorator::

        @app.task(acks_late=True)
        @awaited
        async def answer(prompt: str) -> str: ...
    """

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return run_coroutine(body(*args, **kwargs))

    # Celery checks arguments against the signature, and does not look through wrappers for it.
    run.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    run.is_awaited = True  # type: ignore[attr-defined]
    return run


def is_coroutine_task(task: Any) -> bool:
    """Say whether the body of this Celery task is a coroutine."""
    return getattr(task.run, "is_awaited", False) or inspect.iscoroutinefunction(task.run)


def run_coroutine[R](coroutine: Coroutine[Any, Any, R]) -> R:
    """Wait for a coroutine from plain code: stepped right here on a stage, else on the process's loop."""
    stage = _current_stage()
    if stage is not None:
        return stage.run_coroutine(coroutine)
    home = loop_thread()
    if home.is_current():
        coroutine.close()
        raise WouldBlockTheLoop(
            f"{coroutine!r} was called as plain code on the loop's own thread: "
            "await the coroutine, send the task to a queue, or call it in asyncio.to_thread"
        )
    return _carry_out(coroutine, home)


def draining() -> asyncio.Event:
    """
    The event that is set as soon as this worker begins to shut down.

    A long coroutine looks at it, or awaits it, to hand its work back before it is cancelled.
    """
    return loop_thread().draining


class Stoppable:
    """Work whose coroutine can be told to stop. Only the loop's thread touches it."""

    def __init__(self) -> None:
        self.stopping: StopReason | None = None
        self.abandoned = False
        self._due: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._stage: Stage | None = None

    def begin(self, play: Callable[[], None]) -> asyncio.Task[None]:
        """Run this plain code on a stage of its own. It must not raise."""
        self._stage = stage = Stage(play, self)

        async def perform() -> None:
            await stage
            self._stage = None  # else each keeps the other, and all they hold, until a collection

        self._task = asyncio.get_running_loop().create_task(perform())
        return self._task

    def stop(self, reason: StopReason) -> None:
        """Cancel the coroutine. Whatever it returns or raises from now on does not count."""
        self.stopping = reason
        self._interrupt(asyncio.CancelledError(reason))

    def warn(self, limit: float) -> None:
        """Raise SoftTimeLimitExceeded where the coroutine waits, once."""
        if self.stopping is None:
            self._interrupt(_SoftTimeLimit(limit))

    def abandon(self) -> None:
        """Close a coroutine that has not ended although it was stopped, whatever it waits for."""
        self.abandoned = True
        if self._stage and self._task is not None:
            self._stage.throw(GreenletExit)
            self._task.cancel()

    def take_interruption(self) -> BaseException | None:
        """What must be raised in the coroutine now, if anything."""
        due, self._due = self._due, None
        if isinstance(due, _SoftTimeLimit) and self._task is not None:
            # It has come as an exception, so the asyncio task is no longer being cancelled.
            self._task.uncancel()
        return due

    def _interrupt(self, exception: BaseException) -> None:
        self._due = exception
        # A greenlet is true from its first step to its end; one not yet begun finds out when it begins.
        if self._stage and self._task is not None:
            self._task.cancel(*exception.args)


class Stage(greenlet):
    """The greenlet in which a task's plain code runs, and which steps its coroutine."""

    def __init__(self, play: Callable[[], None], work: Stoppable) -> None:
        super().__init__(play)
        self.gr_context = copy_context()
        self._work = work
        self._loops_greenlet = getcurrent()

    def __await__(self) -> Generator[Any, None, None]:
        """Play to the end; an asyncio task awaits whatever the stage has to wait for."""
        waits_for = self.switch()
        while not self.dead:
            error: BaseException | None = None
            try:
                yield waits_for
            except BaseException as exc:
                error = exc
            waits_for = self.switch() if error is None else self.throw(error)

    def run_coroutine[R](self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Step this coroutine to its end, leaving the stage to others whenever it waits."""
        try:
            return self._step_to_end(coroutine)
        except _SoftTimeLimit as limit:
            raise SoftTimeLimitExceeded(*limit.args).with_traceback(limit.__traceback__) from None
        finally:
            # Celery has settled, or will settle, a stopped task itself: its tracer must see no outcome.
            if self._work.stopping is not None:
                raise asyncio.CancelledError(self._work.stopping)

    def _step_to_end[R](self, coroutine: Coroutine[Any, Any, R]) -> R:
        work = self._work
        leave = self._loops_greenlet.switch
        error = work.take_interruption()
        try:
            while True:
                waits_for = coroutine.send(None) if error is None else coroutine.throw(error)
                error = None
                try:
                    leave(waits_for)
                except BaseException as exc:
                    error = exc
                if work.abandoned:
                    _close(coroutine)
                    raise GreenletExit
                error = work.take_interruption() or error
        except StopIteration as end:
            result: R = end.value
            return result
        finally:
            error = None  # else its traceback, which holds this frame, would keep everything alive


class LoopThread:
    """An asyncio loop in a thread of its own, which nothing that runs there can end."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self.draining = asyncio.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="coroutines", daemon=True)
        self._thread.start()
        # A daemon thread that is still busy while the interpreter is taken down can crash it.
        atexit.register(self.close)

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Have this called on the loop's thread, soon."""
        self.loop.call_soon_threadsafe(function, *args)

    def is_current(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def close(self) -> None:
        """Cancel what is left on the loop, and end its thread."""
        self._closing = True
        self.call(self.loop.stop)
        self._thread.join(timeout=2 * LEFTOVERS_GRACE)

    def _run(self) -> None:
        while not self._closing:
            try:
                self.loop.run_forever()
            except BaseException:
                # asyncio lets SystemExit and KeyboardInterrupt through: they would end every other task.
                logger.critical("A callback tried to end the loop's thread: it goes on", exc_info=True)
        leftovers = asyncio.all_tasks(self.loop)
        for task in leftovers:
            task.cancel()
        if leftovers:
            self.loop.run_until_complete(asyncio.wait(leftovers, timeout=LEFTOVERS_GRACE))
        self.loop.close()


def loop_thread() -> LoopThread:
    """The loop of this process, started when first asked for."""
    global _loop_thread
    with _starting:
        if _loop_thread is None:
            _loop_thread = LoopThread()
        return _loop_thread


def work_of_this_thread(work: Stoppable | None) -> None:
    """From now on, coroutines which this thread waits for can be stopped through this work."""
    _thread.work = work


class _SoftTimeLimit(SoftTimeLimitExceeded, asyncio.CancelledError):  # type: ignore[misc]
    """
    What a soft time limit raises in a coroutine.

    Also a CancelledError, because asyncio's own locks, queues and task groups expect no other exception
    where they wait, and leave children running or a wake-up lost if they get one.
    """


_never_ending: list[Coroutine[Any, Any, Any]] = []
_loop_thread: LoopThread | None = None
_starting = threading.Lock()
_thread = threading.local()


def _current_stage() -> Stage | None:
    # A thread's own greenlet must not be in a variable when something raises: the traceback would keep it,
    # and collecting it once its thread has ended can crash the process.
    here = getcurrent()
    return here if isinstance(here, Stage) else None


def _close(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine, once more for each ``finally`` or ``except`` that awaits something again."""
    for _ in range(CLOSE_ATTEMPTS):
        with suppress(BaseException):
            coroutine.close()
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED:
            return
    # Any thread may collect garbage, and would then close this again: no thread but the loop's may do that.
    _never_ending.append(coroutine)


def _carry_out[R](coroutine: Coroutine[Any, Any, R], home: LoopThread) -> R:
    """Run the coroutine on a stage of the loop's, with the caller's task and request, and wait for it."""
    work: Stoppable = getattr(_thread, "work", None) or Stoppable()
    task = get_current_task()
    request = task.request_stack.top if task is not None else None
    answer: Future[R] = Future()

    def play() -> None:
        if task is not None:
            _task_stack.push(task)
            task.request_stack.push(request)
        try:
            answer.set_result(run_coroutine(coroutine))
        except BaseException as exc:
            answer.set_exception(exc)
        finally:
            if task is not None:
                task.request_stack.pop()
                _task_stack.pop()

    home.call(work.begin, play)
    return answer.result()


def _forget_parents_loop() -> None:
    """After a fork, the child has the object of its parent's loop, but not the thread."""
    global _loop_thread, _starting
    if _loop_thread is not None:
        atexit.unregister(_loop_thread.close)
    _loop_thread = None
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_forget_parents_loop)
