"""
The pulse: one loop that hands out what is due, asleep in between.

Whoever holds the shift looks, records what schedules have come due, publishes a hint for each waiting
run, and sleeps until the next thing is due or a nearer one pokes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

import structlog
from redis.exceptions import RedisError

from nightshift.base.errors import NightshiftError
from nightshift.runs.ledger import DueSchedule, DueVisit, Hint, Ledger, Look
from nightshift.runs.queues import MODEL_QUEUES

log = structlog.get_logger("nightshift.pulse")

Publish = Callable[[Sequence[Hint]], Awaitable[None]]
PublishVisits = Callable[[Sequence[DueVisit], datetime], Awaitable[None]]
LongQueues = Callable[[], Awaitable[Mapping[str, timedelta]]]


class OpenSwitches(Protocol):
    """What people have closed, at one moment."""

    @property
    def models_closed(self) -> str:
        """Why work that asks a model waits; empty while it does not."""

    def is_on(self, name: str) -> bool:
        """Whether this switch is on."""


class Switchboard(Protocol):
    """Where that is read, again before each decision."""

    async def read(self) -> OpenSwitches: ...


class RecordDue(Protocol):
    """Records the slots that schedules have come to."""

    async def __call__(self, due: Sequence[DueSchedule], *, now: datetime) -> None: ...


#: Who finds the shift taken stands by this long; then the next trigger does.
STANDBY = timedelta(seconds=9)
#: The poke that says that the shift is free.
FREE = "free"
#: Closed queues are looked at again this often.
CLOSED = timedelta(seconds=30)
#: What the pulse hands out in one look.
BATCH = 500
#: Switches and queue lengths are asked for at most this often.
GATES_AGE = timedelta(seconds=1)


async def keep_pulse(
    ledger: Ledger,
    switches: Switchboard,
    *,
    holder: str,
    record_due: RecordDue,
    publish: Publish,
    publish_visits: PublishVisits,
    long_queues: LongQueues,
    leaving: asyncio.Event,
) -> None:
    """
    Hand out what is due for as long as the shift is ours; return when somebody else has it.

    Who finds the shift taken stands by until the next trigger comes, so that a dead holder is
    followed as soon as its shift lapses.
    """
    gates = _Gates(switches, long_queues)
    stand_by_until = datetime.now(UTC) + STANDBY
    on_shift = False
    try:
        async with _Waker(ledger, leaving) as waker:
            while not leaving.is_set():
                held = await gates.held()
                look = await ledger.look(holder, limit=BATCH, held=held, visits=gates.visits)
                gates.busy = bool(look.hints or look.visits)
                if look.on_shift:
                    on_shift = True
                    if not await _hand_out(look, record_due, publish, publish_visits):
                        await waker.until_poked(look.until - look.now)
                elif on_shift or datetime.now(UTC) >= stand_by_until:
                    return
                else:
                    await waker.until_free(min(look.until, stand_by_until) - datetime.now(UTC))
    finally:
        with suppress(NightshiftError, RedisError):
            await asyncio.shield(ledger.leave_shift(holder))


async def _hand_out(
    look: Look, record_due: RecordDue, publish: Publish, publish_visits: PublishVisits
) -> bool:
    """Record and publish what the look found; true if there was anything."""
    if look.due:
        await record_due(look.due, now=look.now)
    try:
        if look.hints:
            await publish(look.hints)
        if look.visits:
            await publish_visits(look.visits, look.now)
    except Exception as error:
        # Runs and visits are handed out again; the broker may be back by then.
        count = len(look.hints) + len(look.visits)
        log.warning("hints_not_published", count=count, error=f"{type(error).__name__}: {error}")
    return bool(look.due or look.hints or look.visits or look.missed)


class _Gates:
    """Which queues get no hints now."""

    def __init__(self, switches: Switchboard, long_queues: LongQueues) -> None:
        self._switches = switches
        self._long_queues = long_queues
        self._long: Mapping[str, timedelta] = {}
        self._held: Mapping[str, timedelta] = {}
        self._read_at = datetime.min.replace(tzinfo=UTC)
        #: Whether there is anything to publish; otherwise nobody asks how long the queues are.
        self.busy = True
        #: Whether channels are visited at all.
        self.visits = False

    async def held(self) -> Mapping[str, timedelta]:
        now = datetime.now(UTC)
        if now - self._read_at >= GATES_AGE:
            board = await self._switches.read()
            # A queue that was long gets nothing, so it may be long still although nothing is published.
            self._long = await self._measured() if self.busy or self._long else {}
            self.visits = board.is_on("channel_heartbeat_enabled")
            closed = MODEL_QUEUES if board.models_closed else ()
            self._held = {**self._long, **dict.fromkeys(closed, CLOSED)}
            self._read_at = now
        return self._held

    async def _measured(self) -> Mapping[str, timedelta]:
        try:
            return await self._long_queues()
        except Exception as error:  # the broker is away, in whatever way; the store is not
            log.warning("queues_not_measured", error=f"{type(error).__name__}: {error}")
            return {}


class _Waker:
    """A sleep that ends early when something nearer is recorded, the shift comes free, or we shall leave."""

    def __init__(self, ledger: Ledger, leaving: asyncio.Event) -> None:
        self._ledger = ledger
        self._leaving = leaving
        self._poked, self._freed = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._pubsub = self._ledger.redis.pubsub(ignore_subscribe_messages=True)
        await self._pubsub.subscribe(self._ledger.keys.poke)
        self._watching = [asyncio.create_task(self._listen()), asyncio.create_task(self._leave())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.wait(self._watching)
        closing: Any = self._pubsub
        await closing.aclose()

    async def until_poked(self, at_most: timedelta) -> None:
        await self._sleep(self._poked, at_most)

    async def until_free(self, at_most: timedelta) -> None:
        await self._sleep(self._freed, at_most)

    async def _sleep(self, event: asyncio.Event, at_most: timedelta) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(at_most.total_seconds(), 0)):
                await event.wait()
        event.clear()
        if self._watching[0].done():
            self._watching[0].result()

    async def _listen(self) -> None:
        try:
            while True:
                message: Any = await self._pubsub.get_message(timeout=None)
                if message:
                    self._poked.set()
                if message and message["data"] == FREE:
                    self._freed.set()
        finally:
            self._wake()

    async def _leave(self) -> None:
        await self._leaving.wait()
        self._wake()

    def _wake(self) -> None:
        self._poked.set()
        self._freed.set()
