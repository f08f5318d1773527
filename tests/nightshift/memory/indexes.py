"""Waiting for indexes, which the server fills in the background."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from nightshift.store.client import command


async def until_filled(graphs: Redis) -> None:
    """Wait until every index of every graph is used for searching."""
    async with asyncio.timeout(10):
        for name in await command(graphs, "GRAPH.LIST"):
            while not await _are_filled(graphs, name):
                await asyncio.sleep(0.02)


async def _are_filled(graphs: Redis, name: str) -> bool:
    _, rows, _ = await command(graphs, "GRAPH.RO_QUERY", name, "CALL db.indexes() YIELD status")
    return all(status == "OPERATIONAL" for (status,) in rows)
