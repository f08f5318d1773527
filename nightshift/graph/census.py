"""How big the graphs are; no model is asked and nothing is changed."""

from __future__ import annotations

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.processes.resources import Resource
from nightshift.store.client import command, new_client
from nightshift.store.graph import NO_GRAPH
from nightshift.store.keys import Keys

#: One graph a count may not keep waiting for longer.
TIMEOUT_MS = 5_000


def graph_resource(url: str | None) -> Resource[Redis]:
    """The graph's client, as a resource named ``graph``."""

    async def start() -> Redis:
        if url is None:
            raise BadSetting(NO_GRAPH)
        return new_client(url)

    return Resource("graph", start, ping=lambda graphs: command(graphs, "GRAPH.LIST"), close=Redis.aclose)


async def take_census(graphs: Redis, keys: Keys) -> dict[str, int]:
    """Count this deployment's graphs, nodes and edges; others may keep theirs on the same server."""
    names = [name for name in await command(graphs, "GRAPH.LIST") if name.startswith(keys.graphs)]
    nodes = edges = 0
    for name in names:
        nodes += await _count(graphs, name, "MATCH (n) RETURN count(n)")
        edges += await _count(graphs, name, "MATCH ()-[r]->() RETURN count(r)")
    return {"graphs": len(names), "nodes": nodes, "edges": edges}


async def _count(graphs: Redis, name: str, query: str) -> int:
    answer = await command(graphs, "GRAPH.RO_QUERY", name, query, "TIMEOUT", TIMEOUT_MS)
    return int(answer[1][0][0])
