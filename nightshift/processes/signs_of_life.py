"""Signs of life: every process of the deployment says now and then that it is there."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.base.instants import from_ms
from nightshift.base.words import times
from nightshift.store.keys import Keys

REPORT_EVERY = timedelta(seconds=5)
#: Who has not been heard of for this long counts as gone.
GONE_AFTER = timedelta(seconds=15)
#: And is forgotten after this.
FORGET_AFTER = timedelta(hours=1)


@dataclass(frozen=True)
class Process:
    """One process, as it last reported itself."""

    name: str
    kind: str
    pid: int
    host: str
    seen: datetime
    alive: bool
    facts: Mapping[str, Any]


async def report(redis: Redis, keys: Keys, name: str, kind: str, facts: Mapping[str, Any]) -> None:
    """Say that this process is there, and what it is doing."""
    seconds, micros = await redis.time()
    row = {"kind": kind, "pid": os.getpid(), "host": socket.gethostname(), "facts": facts}
    pipeline = redis.pipeline(transaction=False)
    pipeline.set(keys.process(name), json.dumps(row), ex=FORGET_AFTER)
    pipeline.zadd(keys.processes, {name: seconds * 1000 + micros // 1000})
    await pipeline.execute()


async def leave(redis: Redis, keys: Keys, name: str) -> None:
    """Say goodbye, so that nobody waits for a sign of life."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.zrem(keys.processes, name)
    pipeline.delete(keys.process(name))
    await pipeline.execute()


async def read_processes(redis: Redis, keys: Keys) -> list[Process]:
    """Everybody who reported within the last hour, by name."""
    seconds, micros = await redis.time()
    now = datetime.fromtimestamp(seconds + micros / 1e6, UTC)
    await redis.zremrangebyscore(keys.processes, "-inf", (seconds - FORGET_AFTER.total_seconds()) * 1000)
    reported: Any = await redis.zrange(keys.processes, 0, -1, withscores=True)
    rows: Any = await redis.mget([keys.process(name) for name, _ in reported]) if reported else []
    found = []
    for (name, score), row in zip(reported, rows, strict=True):
        if row:
            seen = from_ms(score)
            found.append(Process(name, seen=seen, alive=now - seen <= GONE_AFTER, **json.loads(row)))
    return sorted(found, key=lambda process: process.name)


def describe(process: Process) -> str:
    """What it is doing, in a few words."""
    facts = process.facts
    match process.kind:
        case "beat":
            return "leads" if facts.get("leads") else "stands by"
        case "worker" if not facts.get("ready", True):
            return f"not ready: {facts['why']}"
        case "worker":
            pool = facts.get("pool", {})
            busy = f"{pool.get('running', 0)} of {pool.get('limit', '?')} slots busy"
            return f"{', '.join(facts['queues'])}; {busy}"
        case "web":
            return f"{facts.get('listeners', 0)} listeners"
    return ", ".join(
        f"{child['name']} {child['state']}"
        + (f" (restarted {times(child['restarts'])})" if child["restarts"] else "")
        for child in facts.get("children", ())
    )
