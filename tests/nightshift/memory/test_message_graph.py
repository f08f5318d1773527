from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import Overloaded
from nightshift.memory import message_graph as module
from nightshift.memory.message_graph import EmbeddingModel, GraphEntry, MessageGraph
from nightshift.store.client import command, new_client
from nightshift.store.graph import Graph
from tests.nightshift.memory.indexes import until_filled

NAME = "test:graph"
FLAT = EmbeddingModel("flat", 2)


@pytest.fixture
def graph(graphs: Redis) -> MessageGraph:
    return MessageGraph(Graph(graphs, NAME))


class Library:
    """Messages at angles: the nearer the angle, the nearer the meaning."""

    def __init__(self, graph: MessageGraph, graphs: Redis, now: datetime) -> None:
        self.graph = graph
        self.now = now
        self._graphs = graphs

    def entry(self, id: str, text: str = "hello", audience: str = "a:1", **more: str) -> GraphEntry:
        at = self.now + timedelta(seconds=int(id)) if id.isdigit() else self.now
        return GraphEntry(id, more.get("ref", "a:1"), more.get("user", "a:ann"), text, audience, at)

    async def put(self, *entries: tuple[GraphEntry, float]) -> None:
        await self.graph.prepare(FLAT)
        await self.graph.put(FLAT, [(entry, at(angle)) for entry, angle in entries])
        await until_filled(self._graphs)

    async def nearest(self, angle: float, *audiences: str, limit: int = 3) -> list[str]:
        return ids(await self.graph.nearest(FLAT, at(angle), audiences or ("a:1",), limit))

    async def matching(self, question: str, *audiences: str) -> list[str]:
        return ids(await self.graph.matching(question, audiences or ("a:1",), 10))


def at(angle: float) -> list[float]:
    return [math.cos(angle), math.sin(angle)]


def ids(found: Iterable[module.Found]) -> list[str]:
    return [each.id for each in found]


@pytest.fixture
def library(graph: MessageGraph, graphs: Redis, now: datetime) -> Library:
    return Library(graph, graphs, now)


async def test_a_message_is_found_by_what_it_means_and_by_its_words(library: Library, now: datetime) -> None:
    await library.put((library.entry("1", "tea is ready"), 0.1), (library.entry("2", "the car broke"), 1.0))

    assert await library.nearest(0.0) == ["1", "2"]
    assert await library.nearest(1.1) == ["2", "1"]
    assert await library.matching("which CARS?") == ["2"]
    (found,) = await library.graph.nearest(FLAT, at(0), ("a:1",), 1)
    assert found == module.Found("1", "a:1", "tea is ready", "a:1", now + timedelta(seconds=1))


@pytest.mark.parametrize("compared", [module.COMPARED, 0])
async def test_only_what_the_audiences_allow_is_found_however_near_the_rest(
    library: Library, compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By comparing all that may be seen, and by the index, which is asked for more until it is enough."""
    monkeypatch.setattr(module, "COMPARED", compared)
    secret = [(library.entry(f"{n}", "secret tea", "a:2"), n / 1000) for n in range(100)]
    mine = [(library.entry(f"mine{n}", "tea", "a:1"), 1 + n / 1000) for n in range(4)]
    await library.put(*secret, *mine)

    assert await library.nearest(0.0) == ["mine0", "mine1", "mine2"]
    assert sorted(await library.matching("tea")) == ["mine0", "mine1", "mine2", "mine3"]
    assert await library.nearest(0.0, "nobody") == []
    assert await library.matching("secret", "nobody") == []


async def test_what_is_put_again_replaces_what_was_there(library: Library) -> None:
    await library.put((library.entry("1", "tea"), 0.0))
    await library.put((library.entry("1", "coffee"), 1.0))

    assert await library.graph.count() == 1
    assert (await library.matching("tea"), await library.matching("coffee")) == ([], ["1"])


@pytest.mark.parametrize(
    "question",
    [
        "tea-time",
        "@audience:{tea}",
        "-tea",  # everything but tea, to the index
        "~tea",
        "(tea",
        'tea" | "x',
        "tea*) => {$weight: 5}",
        "%tea% | *",
        "tea\\",
        "tea'}) RETURN 1 //",
        "tea \0",
        "tea \ud800",
    ],
)
async def test_a_question_is_data_to_the_full_text_index(library: Library, question: str) -> None:
    await library.put((library.entry("1", "tea"), 0.0), (library.entry("2", "coffee"), 0.0))
    await library.put((library.entry("3", "tea", "a:2"), 0.0))

    assert await library.matching(question) == ["1"]


@pytest.mark.parametrize("question", ["", "  ", "***", "\0", "()", '"', "-", "@:{}"])
async def test_a_question_without_words_finds_nothing(library: Library, question: str) -> None:
    await library.put((library.entry("1", "tea"), 0.0))

    assert await library.matching(question) == []


@pytest.mark.parametrize(
    "text", ['"}) DETACH DELETE m //', "it's \\", "a\0b", "x\ud800y", "line\nline", "日本 é 🙂"]
)
async def test_a_text_is_data_to_the_graph(library: Library, text: str) -> None:
    await library.put((library.entry("1", text), 0.0))

    (found,) = await library.graph.nearest(FLAT, at(0), ("a:1",), 1)
    assert found.text == text.replace("\0", "").replace("\ud800", "?")


async def test_words_of_any_script_are_found(library: Library) -> None:
    await library.put((library.entry("1", "Größe 日本 नमस्ते snake_case"), 0.0))

    for word in ("Größe", "日本", "नमस्ते", "snake_case"):
        assert await library.matching(word) == ["1"]


async def test_vectors_of_another_model_are_not_compared_until_they_are_made_anew(library: Library) -> None:
    await library.put((library.entry("1"), 0.0), (library.entry("2"), 1.0))
    deep = EmbeddingModel("deep", 3)

    await library.graph.prepare(deep)
    await library.graph.prepare(deep)
    assert await library.graph.model() == deep
    assert await library.graph.nearest(deep, [1, 0, 0], ("a:1",), 3) == []
    first, _ = await library.graph.outdated(deep, 10)
    await library.graph.put(deep, [(first, [1, 0, 0])], known=True)
    assert ids(await library.graph.nearest(deep, [1, 0, 0], ("a:1",), 3)) == [first.id]
    assert len(await library.graph.outdated(deep, 10)) == 1


async def test_a_model_of_the_same_size_is_another_model(library: Library) -> None:
    await library.put((library.entry("1"), 0.0))
    other = EmbeddingModel("other", 2)

    await library.graph.prepare(other)
    assert await library.graph.nearest(other, at(0), ("a:1",), 3) == []


async def test_what_was_removed_meanwhile_is_not_embedded_again(library: Library) -> None:
    await library.put((library.entry("1"), 0.0))
    await library.graph.remove(["1"])

    await library.graph.put(FLAT, [(library.entry("1"), at(0))], known=True)
    assert await library.graph.count() == 0


async def test_messages_go_by_id_by_channel_and_by_user(library: Library) -> None:
    await library.put(
        (library.entry("1"), 0.0),
        (library.entry("2", ref="b:1"), 0.0),
        (library.entry("3", user="a:bob"), 0.0),
        (library.entry("4", user="a:bob", ref="b:1"), 0.0),
    )
    graph = library.graph

    assert (await graph.count_of("user", "a:bob"), await graph.count_of("ref", "b:1")) == (2, 2)
    assert await graph.remove(["1", "nowhere"]) == 1
    assert await graph.remove_of("user", "a:bob") == 2
    assert await graph.remove_of("ref", "b:1") == 1
    assert await graph.count() == 0


async def test_a_graph_that_is_full_loses_its_oldest_with_some_room_for_the_next(library: Library) -> None:
    await library.put(*[(library.entry(f"{n}"), 0.0) for n in range(300)])

    assert await library.graph.trim(300) == 0
    assert await library.graph.trim(200) == 102
    assert sorted(map(int, await library.nearest(0.0, limit=500))) == list(range(102, 300))


async def test_a_channel_that_became_more_private_takes_its_messages_along(library: Library) -> None:
    await library.put((library.entry("1", audience="everyone"), 0.0), (library.entry("2"), 0.0))

    assert await library.graph.change_audience("a:1", "everyone", "a:1") == 1
    assert await library.nearest(0.0, "everyone") == []
    assert sorted(await library.nearest(0.0, "a:1")) == ["1", "2"]


async def test_a_graph_nobody_has_written_to_is_empty(graph: MessageGraph) -> None:
    assert await graph.model() is None
    assert (await graph.remove(["1"]), await graph.count_of("user", "a:ann")) == (0, 0)


async def test_no_id_stands_twice_in_a_graph(library: Library, graphs: Redis) -> None:
    await library.put((library.entry("1"), 0.0))

    constraints = await command(graphs, "GRAPH.RO_QUERY", NAME, "CALL db.constraints() YIELD status")
    assert constraints[1] == [["OPERATIONAL"]]


async def test_a_graph_with_a_full_text_index_and_messages_is_given_no_constraint_any_more(
    library: Library, graphs: Redis
) -> None:
    """The server has crashed on it (FalkorDB 4.22), and with it whoever else uses it."""
    await command(graphs, "GRAPH.QUERY", NAME, "CALL db.idx.fulltext.createNodeIndex('Message', 'text')")
    await command(graphs, "GRAPH.QUERY", NAME, "CREATE (:Message {id: 'old', text: 'tea'})")

    await library.put((library.entry("1", "tea"), 0.0))
    constraints = await command(graphs, "GRAPH.RO_QUERY", NAME, "CALL db.constraints() YIELD status")
    assert constraints[1] == []
    assert await library.matching("tea") == ["1"]


async def test_a_server_that_is_away_is_worth_another_try() -> None:
    async with new_client("unix:///nowhere.sock", retries=0) as client:
        with pytest.raises(Overloaded, match="does not answer"):
            await Graph(client, NAME).read("RETURN 1")
