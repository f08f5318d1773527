"""The call that every system makes, and the process's own account of how many it made in which time."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import aiohttp
from redis import Redis

_session: aiohttp.ClientSession | None = None
_first_start = 0.0
_made = 0


async def call_model(expected: int) -> None:
    """Call the model once; the last of the expected calls reports for all."""
    global _session, _first_start, _made
    _first_start = _first_start or time.monotonic()
    if _session is None:
        _session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    async with _session.post(os.environ["BENCH_MODEL"], json={"prompt": "x" * 500}) as response:
        await response.json()
    _made += 1
    if _made == expected:
        seconds = time.monotonic() - _first_start
        report = {"per_second": expected / seconds, "peak_mb": peak_mb(), "cpu_seconds": time.process_time()}
        with Redis.from_url(os.environ["BENCH_REDIS"]) as redis:
            redis.rpush("report", json.dumps(report))


def peak_mb() -> float:
    """The most memory this process ever held."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024
