"""
Resources: costly things that a process keeps between uses, such as the client of a model.

The first use starts a resource, and one that idles for long is closed. One that crashed is forgotten, and
started anew by the next use: at once the first time, after a pause if it keeps happening.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from nightshift.base.errors import NotPossible, Overloaded, PermanentError, TransientError
from nightshift.base.masking import reason_of
from nightshift.base.words import span, stamp, times

log = structlog.get_logger("nightshift.parts")

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)

_EPOCH = datetime.now(UTC) - timedelta(seconds=time.monotonic())


def steady_now() -> datetime:
    """The instant by a clock that nobody sets: no pause becomes an hour because the time was corrected."""
    return _EPOCH + timedelta(seconds=time.monotonic())


class ResourceResting(TransientError):
    """The resource has crashed several times in a row, and is left alone for a while."""


@dataclass(frozen=True)
class Resource[T]:
    """What is kept: how it is started, asked whether it still works, and closed."""

    name: str
    start: Callable[[], Awaitable[T]]
    #: Raises if it does not work any more. Must cost no money.
    ping: Callable[[T], Awaitable[object]]
    close: Callable[[T], Awaitable[object]]
    max_idle: timedelta = timedelta(minutes=10)
    #: How long a start may take.
    start_within: timedelta = timedelta(seconds=30)
    #: How long a ping, and closing, may take.
    answer_within: timedelta = timedelta(seconds=5)


@dataclass(frozen=True)
class Crashes:
    """What is remembered of a resource's crashes, and how long it therefore rests."""

    count: int = 0
    #: Since it last answered a ping.
    in_a_row: int = 0
    last: datetime | None = None
    why: str = ""

    def add(self, why: str, now: datetime) -> Crashes:
        return Crashes(self.count + 1, self.in_a_row + 1, now, why)

    def rest(self, now: datetime) -> timedelta:
        """How long the next start has to wait: not at all after one crash, then twice as long after each."""
        if self.last is None or self.in_a_row < 2:
            return timedelta(0)
        pause = min(FIRST_PAUSE * (1 << min(self.in_a_row - 2, 10)), LONGEST_PAUSE)
        return max(self.last + pause - now, timedelta(0))


@dataclass
class _Started:
    """One life of a resource."""

    thing: Any
    last_use: datetime
    users: int = 0
    crashed: bool = False


@dataclass
class _Kept:
    """A resource, and the life it now has, if any."""

    resource: Resource[Any]
    crashes: Crashes = Crashes()
    uses: int = 0
    started: _Started | None = None
    #: Held while a life begins, or one that idled ends: the next waits for it.
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Resources:
    """The resources of one event loop; they are registered here, and live from their first use on."""

    def __init__(self, *resources: Resource[Any], now: Callable[[], datetime] = steady_now) -> None:
        self._now = now
        self._kept: dict[str, _Kept] = {}
        for resource in resources:
            if resource.name in self._kept:
                raise NotPossible(
                    f"resource {resource.name!r} is registered twice; give one of them another name"
                )
            self._kept[resource.name] = _Kept(resource)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Any]:
        """Have it for a while; started if need be, once for all who wait, and not closed meanwhile."""
        kept = self._find(name)
        async with kept.changing:
            started = kept.started or await self._start(kept)
            started.users += 1
        kept.uses += 1
        try:
            yield started.thing
        finally:
            started.users -= 1
            started.last_use = self._now()
            if started.crashed and not started.users:
                await self._close(kept.resource, started)

    async def look_after(self) -> None:
        """Close what idled for too long and ping what is alive; costs nothing if nothing is."""
        for kept in self._kept.values():
            await self._reap(kept)
            await self._ping(kept)

    async def close(self) -> None:
        """Close everything, used or not."""
        for kept in self._kept.values():
            started, kept.started = kept.started, None
            if started is not None:
                await self._close(kept.resource, started)

    def report(self) -> list[dict[str, Any]]:
        """How each resource is doing, for the process's row."""
        return [
            {
                "name": name,
                "alive": kept.started is not None,
                "uses": kept.uses,
                "crashes": kept.crashes.count,
                "crashed": stamp(kept.crashes.last) if kept.crashes.last else None,
                "why": kept.crashes.why,
            }
            for name, kept in self._kept.items()
        ]

    def _find(self, name: str) -> _Kept:
        try:
            return self._kept[name]
        except KeyError:
            known = ", ".join(self._kept) or "none"
            raise NotPossible(f"no resource is named {name!r}; those registered: {known}") from None

    async def _start(self, kept: _Kept) -> _Started:
        resource, crashes = kept.resource, kept.crashes
        if rest := crashes.rest(self._now()):
            raise ResourceResting(
                f"resource {resource.name!r} crashed {times(crashes.in_a_row)} in a row and rests for "
                f"{span(rest)}; the last time: {crashes.why}",
                retry_after=rest,
            )
        try:
            async with asyncio.timeout(resource.start_within.total_seconds()) as limit:
                thing = await resource.start()
        except PermanentError:  # it never will start, which is no crash and gets no better by waiting
            raise
        except Exception as error:
            self._remember(kept, error)
            if limit.expired():
                raise Overloaded(
                    f"resource {resource.name!r} has not started within {span(resource.start_within)}"
                ) from error
            raise
        kept.started = _Started(thing, self._now())
        log.info("part_started", part=resource.name)
        return kept.started

    async def _reap(self, kept: _Kept) -> None:
        started, resource = kept.started, kept.resource
        if started is None or started.users or self._now() - started.last_use <= resource.max_idle:
            return
        kept.started = None
        async with kept.changing:
            await self._close(resource, started)
        log.info("part_closed", part=resource.name, idle=span(resource.max_idle))

    async def _ping(self, kept: _Kept) -> None:
        started, resource = kept.started, kept.resource
        if started is None:
            return
        error = await _attempt(partial(resource.ping, started.thing), resource.answer_within)
        if kept.started is not started:  # somebody found out before us
            return
        if error is None:
            kept.crashes = replace(kept.crashes, in_a_row=0)
        else:
            await self._bury(kept, started, error)

    async def _bury(self, kept: _Kept, started: _Started, error: BaseException) -> None:
        kept.started = None
        started.crashed = True
        self._remember(kept, error)
        if not started.users:
            await self._close(kept.resource, started)

    def _remember(self, kept: _Kept, error: BaseException) -> None:
        kept.crashes = kept.crashes.add(reason_of(error), self._now())
        log.warning(
            "part_crashed", part=kept.resource.name, why=kept.crashes.why, in_a_row=kept.crashes.in_a_row
        )

    async def _close(self, resource: Resource[Any], started: _Started) -> None:
        if error := await _attempt(partial(resource.close, started.thing), resource.answer_within):
            log.warning("part_not_closed", part=resource.name, why=reason_of(error))


async def _attempt(call: Callable[[], Awaitable[object]], within: timedelta) -> BaseException | None:
    """Have this called within a time; whatever goes wrong comes back, and stops nobody else."""

    async def guarded() -> BaseException | None:
        try:
            await call()
        except BaseException as error:
            return error
        return None

    # In a task of its own, so that a cancellation of its own making is told from one of ours.
    calling = asyncio.create_task(guarded())
    try:
        await asyncio.wait({calling}, timeout=within.total_seconds())
        return calling.result() if calling.done() else TimeoutError(f"no answer within {span(within)}")
    finally:
        calling.cancel()
