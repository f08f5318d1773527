"""Discord's rate limits: requests of one route share a bucket, and one that is empty is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from nightshift.base.errors import RateLimited
from nightshift.base.words import span
from nightshift.platforms.endpoint import time_in

#: Beyond this nobody is kept waiting, but told when to come back.
LONGEST_HOLD = timedelta(seconds=5)
#: How long an answer that names no time asks us to wait.
SOON = timedelta(seconds=1)
#: Routes remembered before those that have been refilled are forgotten.
MANY = 1000


@dataclass
class _Bucket:
    size: int
    left: int
    refills_in: timedelta
    #: By the loop's clock.
    refilled_at: float


class Buckets:
    """What is left of each route's requests, as the last answers told; one event loop's."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._all_from = 0.0

    async def take(self, route: str) -> None:
        """Take one request out of the route's bucket; wait a little for it, else raise RateLimited."""
        while (wait := self._take(route)) > timedelta(0):
            if wait > LONGEST_HOLD:
                says = f"discord allows no more requests of this kind for {span(wait)}"
                raise RateLimited(says, retry_after=wait)
            await asyncio.sleep(wait.total_seconds())

    def _take(self, route: str) -> timedelta:
        """How long to wait before asking again; nothing if one was taken."""
        now = asyncio.get_running_loop().time()
        if now < self._all_from:
            return timedelta(seconds=self._all_from - now)
        bucket = self._buckets.get(route)
        if bucket is None:
            return timedelta(0)
        if bucket.refilled_at <= now:
            bucket.left, bucket.refilled_at = bucket.size, now + bucket.refills_in.total_seconds()
        if bucket.left <= 0:
            return timedelta(seconds=bucket.refilled_at - now)
        bucket.left -= 1
        return timedelta(0)

    def learn(self, route: str, status: int, headers: Mapping[str, str]) -> None:
        """Remember what an answer told of its bucket, and of the limit that all routes share."""
        now = asyncio.get_running_loop().time()
        size, left = (headers.get(f"X-RateLimit-{each}", "") for each in ("Limit", "Remaining"))
        refills_in = time_in(headers.get("X-RateLimit-Reset-After"))
        if status == 429:
            pause = time_in(headers.get("Retry-After")) or SOON
            if headers.get("X-RateLimit-Global") == "true":
                self._all_from = max(self._all_from, now + pause.total_seconds())
            else:
                at_once = int(size) if size.isdecimal() else 1
                self._keep(route, _Bucket(at_once, 0, pause, now + pause.total_seconds()))
        elif size.isdecimal() and left.isdecimal() and refills_in is not None:
            known = self._buckets.get(route)
            # Answers overtake each other: what is still under way has been taken already.
            least = min(int(left), known.left) if known and known.refilled_at > now else int(left)
            self._keep(route, _Bucket(max(int(size), 1), least, refills_in, now + refills_in.total_seconds()))

    def _keep(self, route: str, bucket: _Bucket) -> None:
        if len(self._buckets) >= MANY:
            now = asyncio.get_running_loop().time()
            self._buckets = {name: each for name, each in self._buckets.items() if each.refilled_at > now}
        self._buckets[route] = bucket
