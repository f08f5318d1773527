"""
Messages that a graph may have something of, though nothing is known of them that may be recalled.

One that was changed or taken back after it had gone from its channel's cache may be a stray; see
``observe.lua``. So may one that is being written to the graph, until it is there: it may be forgotten in that
moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from redis.asyncio import Redis

from nightshift.base.instants import from_ms, to_ms
from nightshift.store.client import text_list
from nightshift.store.keys import Keys


class Strays:
    """By tenant, and by the ids that the graphs know them by."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.strays

    async def add(self, tenant: str, ids: Iterable[str], now: datetime) -> None:
        await self._redis.zadd(self._key, {_member(tenant, id): to_ms(now) for id in ids}, nx=True)

    async def take(self, until: datetime, limit: int) -> dict[str, list[str]]:
        """Those of each tenant that have waited since this instant or longer."""
        members = await text_list(
            self._redis.zrange(self._key, "-inf", to_ms(until), byscore=True, offset=0, num=limit)
        )
        found: dict[str, list[str]] = {}
        for member in members:
            id, _, tenant = member.partition("\n")
            found.setdefault(tenant, []).append(id)
        return found

    async def postpone(self, tenant: str, ids: Iterable[str], until: datetime) -> None:
        """Look at these no sooner than then."""
        await self._redis.zadd(self._key, {_member(tenant, id): to_ms(until) for id in ids}, xx=True, gt=True)

    async def drop(self, tenant: str, ids: Iterable[str]) -> None:
        await self._redis.zrem(self._key, *(_member(tenant, id) for id in ids))

    async def among(self, tenant: str, ids: Sequence[str]) -> set[str]:
        """Which of these are."""
        if not ids:
            return set()
        scores = await self._redis.zmscore(self._key, [_member(tenant, id) for id in ids])
        return {id for id, score in zip(ids, scores, strict=True) if score is not None}

    async def next(self) -> datetime | None:
        """Since when the longest waiting waits, or when it shall be looked at."""
        first = await self._redis.zrange(self._key, 0, 0, withscores=True)
        return from_ms(first[0][1]) if first else None

    async def count(self) -> int:
        return int(await self._redis.zcard(self._key))


def _member(tenant: str, id: str) -> str:
    return f"{id}\n{tenant}"
