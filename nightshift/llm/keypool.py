"""
Several keys for one endpoint: who is well is used in turn, who is not rests until it may be well again.

A limit is one model's, so a key rests for that model alone; one that is not accepted is so for all.

A key is known by the start of its hash: the store, events and logs never see the key itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis

from nightshift.base.errors import BadKeys, RateLimited
from nightshift.base.instants import from_ms
from nightshift.base.words import span
from nightshift.store.client import store_now, text_hash
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts
from nightshift.time.zones import zone

#: Where the day of Gemini's quotas begins.
PACIFIC = zone("America/Los_Angeles")
#: How long a key rests that was told to come back, and not when.
COOLING = timedelta(minutes=1)
#: One refusal may be the endpoint's mistake.
STRIKES = 2


class KeyState(StrEnum):
    """How a key is doing."""

    OK = "ok"
    COOLING = "cooling"
    EXHAUSTED = "exhausted"
    INVALID = "invalid"


@dataclass(frozen=True)
class KeyEvent:
    """How a call with a key went. Made by the functions below."""

    event: str
    state: KeyState = KeyState.OK
    rest: timedelta | None = None
    why: str = ""


OK = KeyEvent("ok")
#: A probe of a key that was not well went well.
WELL = KeyEvent("well")


def rate_limited(retry_after: timedelta | None) -> KeyEvent:
    """It is too fast: it rests as long as it was told."""
    return KeyEvent("resting", KeyState.COOLING, retry_after or COOLING, "rate limited")


#: Its quota of the day is used up: it rests until the next begins.
QUOTA_EXHAUSTED = KeyEvent("resting", KeyState.EXHAUSTED, None, "its quota of the day is used up")
#: It is not accepted; twice in a row, and it is not tried again until a probe finds it well.
UNAUTHORIZED = KeyEvent("refused", why="not accepted")
NO_CREDIT = KeyEvent("refused", why="no credit")


@dataclass(frozen=True)
class ApiKey:
    """A key to use now."""

    secret: str = field(repr=False)
    id: str


@dataclass(frozen=True)
class KeyRow:
    """How one key of a pool is doing."""

    id: str
    state: KeyState
    why: str = ""
    #: The models that it rests for, the one that has to wait longest first.
    rests: Mapping[str, KeyState] = field(default_factory=dict)

    def __str__(self) -> str:
        return " and ".join(f"{state} for {model}" for model, state in self.rests.items()) or str(self.state)


class KeyPool:
    """The keys of one endpoint, as all processes know them."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        read_keys: Callable[[], Sequence[str]],
        name: str = "main",
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``read_keys`` is asked each time, so that a key that comes or goes needs no restart."""
        self.name = name
        self._redis = redis
        self._keys = keys
        self._read_keys = read_keys
        self._clock = clock
        self._scripts = Scripts("nightshift.llm", ("keypool",), redis, keys, clock=clock)

    async def pick(self, model: str) -> ApiKey:
        """
        The key that is well, as far as this model goes, and was not used for longest.

        Raises RateLimited if all that are any good rest, BadKeys if none is.
        """
        secrets = self._secrets()
        if not secrets:
            raise BadKeys(f"endpoint {self.name!r} has no key; set its key or keys_file")
        answer = await self._scripts.run("keypool", pool=self.name, model=model, ids=list(secrets))
        if answer[0] == "key":
            return ApiKey(secrets[answer[1]], answer[1])
        rest_ms = int(answer[1])
        if rest_ms < 0:
            raise BadKeys(
                f"none of the {len(secrets)} keys of endpoint {self.name!r} is accepted; put one in its "
                "keys_file that is, or mend its account"
            )
        rest = timedelta(milliseconds=rest_ms)
        raise RateLimited(
            f"all {len(secrets)} keys of endpoint {self.name!r} rest for {model}, the first for {span(rest)}",
            retry_after=rest,
        )

    async def report(self, id: str, event: KeyEvent, model: str) -> None:
        """Remember how a call to this model with this key went."""
        rest = event.rest
        if event.event == "resting" and rest is None:
            now = await self._now()
            rest = next_pacific_midnight(now) - now
        await self._scripts.run(
            "keypool",
            pool=self.name,
            model=model,
            id=id,
            event=event.event,
            state=event.state,
            till_ms=round(rest.total_seconds() * 1000) if rest else 0,
            why=event.why,
            strikes=STRIKES,
        )

    async def rows(self) -> list[KeyRow]:
        """How each key that is there now is doing."""
        stored = await text_hash(self._redis, self._keys.key_pool(self.name))
        now = await self._now()
        return [_row(id, json.loads(stored.get(id, "{}")), now) for id in self._secrets()]

    async def unwell(self) -> list[tuple[ApiKey, str]]:
        """The keys that are there and not well, with each model they rest for; with none if not accepted."""
        secrets = self._secrets()
        return [
            (ApiKey(secrets[row.id], row.id), model)
            for row in await self.rows()
            if row.state is not KeyState.OK
            for model in row.rests or ("",)
        ]

    def showing(self, key: ApiKey) -> KeyPool:
        """The pool as if it had this key alone to show, for asking how the key is doing now."""
        return _Showing(self, key)

    def _secrets(self) -> dict[str, str]:
        return {key_id(secret): secret for secret in self._read_keys()}

    async def _now(self) -> datetime:
        return self._clock() if self._clock else await store_now(self._redis)


class _Showing(KeyPool):
    """A pool that shows one key, whatever its state; what is said of the key counts for the pool."""

    def __init__(self, pool: KeyPool, key: ApiKey) -> None:
        vars(self).update(vars(pool))
        self._shown = key

    async def pick(self, model: str) -> ApiKey:
        return self._shown

    async def report(self, id: str, event: KeyEvent, model: str) -> None:
        await super().report(id, WELL if event is OK else event, model)


def key_id(secret: str) -> str:
    """What a key is called wherever it must not be seen."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


def next_pacific_midnight(now: datetime) -> datetime:
    """When Gemini's quotas begin anew: midnight in California, whether or not its clocks change that day."""
    tomorrow = now.astimezone(PACIFIC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), PACIFIC).astimezone(UTC)


def _row(id: str, row: dict[str, Any], now: datetime) -> KeyRow:
    if why := row.get("invalid"):
        return KeyRow(id, KeyState.INVALID, why)
    told = sorted(row.get("rests", {}).items(), key=lambda rest: -rest[1]["till"])
    rests = {model: KeyState(rest["state"]) for model, rest in told if from_ms(rest["till"]) > now}
    return KeyRow(id, next(iter(rests.values()), KeyState.OK), rests=rests)
