"""Calling runs that wait back to work, one after the other rather than all at once."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from itertools import batched

from redis.asyncio import Redis

from nightshift.base.errors import NightshiftError
from nightshift.store.client import text_list
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

#: From one run to the next.
PACE = timedelta(seconds=0.2)
BATCH = 500


async def spread_waiting(
    redis: Redis, keys: Keys, met: type[NightshiftError], *, queues: Collection[str] = ()
) -> int:
    """
    Have runs that went back to waiting with this error, or wait on these queues, looked at again at a pace.

    Returns how many there are. Those that are not yet ready for another reason stay as they are.
    """
    scripts = Scripts("nightshift.runs", ("spread",), redis, keys)
    waiting = await text_list(redis.zrange(keys.open, 0, -1))
    moved = 0
    for ids in batched(waiting, BATCH):
        moved = await scripts.run(
            "spread",
            ids=ids,
            met=met.__name__,
            queues=dict.fromkeys(queues, True),
            moved=moved,
            pace_ms=round(PACE.total_seconds() * 1000),
        )
    return moved
