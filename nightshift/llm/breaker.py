"""The breaker: an endpoint of which half the calls fail is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.asyncio import Redis

from nightshift.base.errors import Overloaded
from nightshift.base.instants import from_ms
from nightshift.base.words import span
from nightshift.store.client import store_now, text_field
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts


@dataclass(frozen=True)
class BreakerRules:
    """When it opens, and for how long."""

    #: The calls of this time are judged, once there are so many: half of them failed opens it.
    window: timedelta = timedelta(seconds=60)
    least: int = 10
    #: The first pause; each that follows a failed trial is twice as long.
    pause: timedelta = timedelta(seconds=30)
    ceiling: timedelta = timedelta(minutes=10)
    #: A trial that never says how it went is followed by another.
    trial: timedelta = timedelta(seconds=60)


RULES = BreakerRules()


class Breaker:
    """How the calls to each endpoint went of late, as all processes know it."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        rules: BreakerRules = RULES,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the server's time in tests."""
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._scripts = Scripts("nightshift.llm", ("breaker",), redis, keys, clock=clock)
        self._rules = {
            "window_ms": _ms(rules.window),
            "least": rules.least,
            "pause_ms": _ms(rules.pause),
            "ceiling_ms": _ms(rules.ceiling),
            "trial_ms": _ms(rules.trial),
        }

    async def allow(self, endpoint: str) -> None:
        """Raise Overloaded while the endpoint is left alone; after each pause one call is let through."""
        answer = await self._scripts.run("breaker", endpoint=endpoint, **self._rules)
        if answer[0] == "open":
            pause = timedelta(milliseconds=int(answer[1]))
            raise Overloaded(
                f"endpoint {endpoint!r} is left alone for {span(pause)}: half of its last calls failed",
                retry_after=pause,
            )

    async def pause(self, endpoint: str) -> timedelta | None:
        """How long it is still left alone; nothing if it is trusted, zero if the next call is to try it."""
        opened_until = await text_field(self._redis, self._keys.breaker(endpoint), "until")
        if opened_until is None:
            return None
        now = self._clock() if self._clock else await store_now(self._redis)
        return max(from_ms(opened_until) - now, timedelta(0))

    async def record(self, endpoint: str, ok: bool) -> None:
        """Say how a call went: a refusal with a reason is ``ok``, a time-out or an error of theirs is not."""
        await self._scripts.run("breaker", endpoint=endpoint, went="ok" if ok else "failed", **self._rules)


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
