"""The calls without a queue: ``python -m bench.pool.plain CALLS AT_ONCE``."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from bench.pool.calls import call_model


async def make(calls: int, at_once: int) -> None:
    left = iter(range(calls))

    async def make_one_after_another() -> None:
        for _ in left:
            await call_model(calls)

    await asyncio.gather(*(make_one_after_another() for _ in range(at_once)))


if __name__ == "__main__":
    uvloop.run(make(int(sys.argv[1]), int(sys.argv[2])))
