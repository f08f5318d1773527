"""The Celery app of the pool's tests: real workers run it, tests send to it, over a Redis of their own."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from celery import Celery, current_task, signals
from celery.exceptions import Reject, SoftTimeLimitExceeded
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

import workers.pool
from workers.pool import awaited, draining

app = Celery("pool_tests")
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    worker_soft_shutdown_timeout=float(os.environ.get("POOL_TEST_SOFT_TIMEOUT", "0")),
    broker_connection_retry_on_startup=True,
)


def use_redis(socket: str) -> None:
    app.conf.update(
        broker_url=f"redis+socket://{socket}", result_backend=f"redis+socket://{socket}?virtual_host=1"
    )


SOCKET = os.environ.get("POOL_TEST_REDIS", "")
if SOCKET:  # in a worker
    use_redis(SOCKET)
    workers.pool.GRACE = 0.5

TOLD: dict[str, Any] = {"db": 2, "decode_responses": True, "socket_timeout": None}
told = Redis(unix_socket_path=SOCKET, **TOLD)
told_by_coroutines = AsyncRedis(unix_socket_path=SOCKET, **TOLD)


def tell(what: str, value: object = "") -> None:
    told.rpush(what, str(value))


async def tell_from_coroutine(what: str, value: object = "") -> None:
    await told_by_coroutines.rpush(what, str(value))


def tell_ready(sender: Any, **_: Any) -> None:
    tell(f"{sender.hostname}:ready")


def tell_signal(signal: Any, sender: Any, **facts: Any) -> None:
    request = facts.get("request") or sender.request
    tell(f"{facts.get('task_id') or request.id}:signals", signal.name)


if SOCKET:
    signals.worker_ready.connect(tell_ready)
    for one in ("prerun", "postrun", "success", "failure", "retry", "revoked"):
        getattr(signals, f"task_{one}").connect(tell_signal)


def a_task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``app.task``, with types."""
    task: Callable[[Callable[..., Any]], Any] = app.task(**options)
    return task


place: ContextVar[int] = ContextVar("place", default=-1)
companies: dict[str, asyncio.Barrier] = {}


@a_task(bind=True)
@awaited
async def find_itself(self: Any, company: str, size: int, number: int) -> list[Any]:
    """Wait until the whole company is there, then say who this still is."""
    place.set(number)
    await companies.setdefault(company, asyncio.Barrier(size)).wait()
    return [self.request.id, current_task.request.id, place.get()]


@a_task()
@awaited
async def wait_at(gate: str) -> str:
    """Wait until the gate is opened; tell of the beginning, and of what ended the waiting."""
    try:
        await tell_from_coroutine(f"{gate}:begun")
        await told_by_coroutines.blpop([f"{gate}:open"])
    except asyncio.CancelledError as stop:
        await asyncio.sleep(0.05)  # cleaning up takes its time, and awaits
        await tell_from_coroutine(f"{gate}:left", stop.args)
        return "left"  # which must not count
    return "passed"


@a_task(time_limit=0.2)
@awaited
async def wait_briefly_at(gate: str) -> str:
    return str(await wait_at.run.__wrapped__(gate))


@a_task()
@awaited
async def refuse_to_end(gate: str, *, in_child: bool) -> None:
    async def go_on() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                tell(f"{gate}:refused")

    tell(f"{gate}:begun")
    await (asyncio.create_task(go_on()) if in_child else go_on())


@a_task()
@awaited
async def heed_the_warning(gate: str) -> str:
    async def child() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            tell(f"{gate}:child ended")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.05)  # nothing else is raised
        return "heeded"
    return "not warned"


@a_task()
@awaited
async def ignore_the_warning() -> None:
    await asyncio.sleep(60)


@a_task()
@awaited
async def hand_back_when_draining(gate: str) -> str:
    await tell_from_coroutine(f"{gate}:begun")
    await draining().wait()
    await tell_from_coroutine(f"{gate}:handed back")
    return "handed back"


@a_task(bind=True)
@awaited
async def retry_twice(self: Any) -> int:
    await asyncio.sleep(0)
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)
    return int(self.request.retries)


@a_task(bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0.05)
@awaited
async def fail_twice(self: Any) -> int:
    await asyncio.sleep(0)
    if self.request.retries < 2:
        raise ConnectionError
    return int(self.request.retries)


@a_task()
@awaited
async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("as told")


@a_task(bind=True)
@awaited
async def reject_the_first_delivery(self: Any, gate: str) -> bool:
    if await told_by_coroutines.incr(f"{gate}:deliveries") == 1:
        raise Reject(requeue=True)
    return bool(self.request.delivery_info["redelivered"])


@a_task()
@awaited
async def leave_with(exception: str) -> None:
    await asyncio.sleep(0)
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}.get(exception, GeneratorExit)


@a_task()
@awaited
async def leave_child_with_system_exit() -> None:
    async def child() -> None:
        raise SystemExit

    await asyncio.create_task(child())


@a_task()
@awaited
async def greet(name: str) -> str:
    await asyncio.sleep(0)
    return f"hello {name}"


@a_task()
@awaited
async def block_the_loop(gate: str) -> None:
    """What no coroutine may do."""
    tell(f"{gate}:begun")
    time.sleep(60)  # noqa: ASYNC251  # on purpose


@a_task()
def block_at(gate: str) -> str:
    """A plain function that waits like ``wait_at``, but blocks its thread."""
    tell(f"{gate}:begun")
    told.blpop([f"{gate}:open"])
    return "passed"


@a_task()
@awaited
async def call_as_plain_code(name: str) -> str:
    """Call another task's body without awaiting it, as ``apply()`` does."""
    return str(greet(name))
