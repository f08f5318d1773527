from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.graph.census import graph_resource, take_census
from nightshift.machine import embedded
from nightshift.machine.supervise import Supervisor
from nightshift.processes.resources import Resources
from nightshift.store.client import command, new_client
from nightshift.store.keys import Keys


@pytest.fixture
async def graphs() -> AsyncIterator[Redis]:
    """A client of a real FalkorDB of the test's own."""
    async with falkordb() as url, new_client(url) as client:
        yield client


@asynccontextmanager
async def falkordb() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        spec = embedded.EmbeddedServer(home=Path(folder), password="open sesame")
        embedded.prepare(spec)
        async with Supervisor([embedded.process(spec, timedelta(seconds=20))], Path(folder)):
            yield embedded.url(spec, 0)


async def test_nodes_and_edges_of_all_our_graphs_are_counted(graphs: Redis) -> None:
    ours, others = Keys(), Keys("other")
    assert await take_census(graphs, ours) == {"graphs": 0, "nodes": 0, "edges": 0}
    await command(graphs, "GRAPH.QUERY", ours.message_graph("one"), "CREATE (:A)-[:KNOWS]->(:B)")
    await command(graphs, "GRAPH.QUERY", ours.message_graph("two"), "CREATE (:C)")
    await command(graphs, "GRAPH.QUERY", others.message_graph("one"), "CREATE (:D)")
    await command(graphs, "GRAPH.QUERY", "somebody's", "CREATE (:E)")
    assert await take_census(graphs, ours) == {"graphs": 2, "nodes": 3, "edges": 1}
    assert await take_census(graphs, others) == {"graphs": 1, "nodes": 1, "edges": 0}


async def test_a_graph_in_another_database_of_the_server_is_none_of_ours() -> None:
    async with falkordb() as url, new_client(url) as graphs, new_client(url.replace("db=0", "db=1")) as other:
        await command(other, "GRAPH.QUERY", Keys("other").message_graph("one"), "CREATE (:A)")
        assert await take_census(graphs, Keys()) == {"graphs": 0, "nodes": 0, "edges": 0}


async def test_the_graphs_client_is_a_part_that_crashes_with_its_server() -> None:
    async with falkordb() as url:
        parts = Resources(graph_resource(url))
        async with parts.use("graph") as graphs:
            assert await take_census(graphs, Keys()) == {"graphs": 0, "nodes": 0, "edges": 0}
        await parts.look_after()
        assert parts.report()[0]["alive"]
    await parts.look_after()
    (told,) = parts.report()
    assert (told["alive"], told["crashes"]) == (False, 1)
    assert "open sesame" not in told["why"]


async def test_a_graph_that_is_not_set_names_the_setting() -> None:
    with pytest.raises(BadSetting, match="NIGHTSHIFT_GRAPH_URL"):
        async with Resources(graph_resource(None)).use("graph"):
            pass
