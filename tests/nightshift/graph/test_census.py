from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift import embedded
from nightshift.graph.census import take_census
from nightshift.store import command, new_client
from nightshift.supervise import Supervisor


@pytest.fixture
async def graphs() -> AsyncIterator[Redis]:
    """A real FalkorDB of the test's own."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        spec = embedded.EmbeddedServer(home=Path(folder), password="open sesame")
        embedded.prepare(spec)
        running = Supervisor([embedded.process(spec, timedelta(seconds=20))], Path(folder))
        async with running, new_client(embedded.url(spec, 0)) as client:
            yield client


async def test_nodes_and_edges_of_all_graphs_are_counted(graphs: Redis) -> None:
    assert await take_census(graphs) == {"graphs": 0, "nodes": 0, "edges": 0}
    await command(graphs, "GRAPH.QUERY", "one", "CREATE (:A)-[:KNOWS]->(:B)")
    await command(graphs, "GRAPH.QUERY", "two", "CREATE (:C)")
    assert await take_census(graphs) == {"graphs": 2, "nodes": 3, "edges": 1}
