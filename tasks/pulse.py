"""
The Celery entry of the pulse, and the only place that publishes.

When to hint and what is due are decided in ``nightshift.runs.pulse``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import current_app, shared_task
from celery.signals import worker_shutting_down

from nightshift.deployment import deployment
from nightshift.heartbeats.visiting import QUEUE
from nightshift.runs.ledger import DueVisit, Hint
from nightshift.runs.pulse import keep_pulse
from nightshift.runs.queues import EXPENDABLE, QUEUES
from nightshift.schedules.recording import record_due
from tasks.heartbeat import visit

#: A queue this long gets no more hints until it is worked off.
LONG_QUEUE = 2_000
AGAIN = timedelta(seconds=5)


async def beat_pulse(self: Any) -> None:
    """Keep the pulse for a shift, or stand by for whoever does."""
    here, holder = deployment(), f"{self.request.hostname}/{self.request.id}"
    with _leaving() as leaving:
        await keep_pulse(
            here.runs.ledger,
            here.controls.switches,
            holder=holder,
            record_due=partial(record_due, here.runs.ledger),
            publish=publish,
            publish_visits=publish_visits,
            long_queues=long_queues,
            leaving=leaving,
        )


pulse = shared_task(
    beat_pulse,
    name="tasks.pulse.pulse",
    bind=True,
    # The trigger is expendable and its work is endless: it must not come back after a time-out.
    acks_late=False,
)


_live: set[Callable[[], object]] = set()


@contextmanager
def _leaving() -> Iterator[asyncio.Event]:
    """An event that is set when this worker begins to shut down: the shift is given back at once."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    leave = partial(loop.call_soon_threadsafe, event.set)
    _live.add(leave)
    try:
        yield event
    finally:
        _live.discard(leave)


def _leave(**_: Any) -> None:
    for leave in tuple(_live):
        leave()


worker_shutting_down.connect(_leave)


async def publish(hints: Sequence[Hint]) -> None:
    """Publish the hints in one batch, off the loop: a broker that does not answer stalls nobody else."""
    await asyncio.to_thread(_publish, hints)


def _publish(hints: Sequence[Hint]) -> None:
    with current_app.producer_or_acquire() as producer, producer.batch():
        for hint in hints:
            current_app.send_task(
                hint.task,
                args=(hint.run_id,),
                queue=hint.queue,
                task_id=f"{hint.run_id}#{uuid.uuid4().hex[:8]}",
                producer=producer,
                retry=False,
            )


async def publish_visits(visits: Sequence[DueVisit], now: datetime) -> None:
    """Publish each visit to be carried out at its time, all in one batch, off the loop."""
    await asyncio.to_thread(_publish_visits, visits, now)


def _publish_visits(visits: Sequence[DueVisit], now: datetime) -> None:
    with current_app.producer_or_acquire() as producer, producer.batch():
        for each in visits:
            countdown = (each.at - now).total_seconds()
            visit.apply_async(
                (each.channel, each.generation),
                queue=QUEUE,
                countdown=max(countdown, 0) or None,
                headers={EXPENDABLE: True},
                producer=producer,
                retry=False,
            )


async def long_queues() -> Mapping[str, timedelta]:
    """Queues whose backlog speaks for itself, and when to look at them again."""
    return await asyncio.to_thread(_long_queues)


def _long_queues() -> Mapping[str, timedelta]:
    with current_app.pool.acquire(block=True) as connection:
        broker = connection.default_channel.client
        return {queue.name: AGAIN for queue in QUEUES if broker.llen(queue.name) > LONG_QUEUE}
