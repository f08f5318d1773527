"""
The messages of one tenant in the graph: found by meaning and by word, each with who may see it.

Vectors of different models cannot be compared. Each model's have a name of their own, so that a search never
meets those of another, and a message has one vector at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from redis.exceptions import ResponseError

from nightshift.base.errors import Overloaded
from nightshift.base.instants import from_ms, to_ms
from nightshift.store.graph import Graph, readable

#: Among so many that a channel may see, every vector is compared: about a millisecond for a thousand.
COMPARED = 5_000
#: Among more, the index is asked for so many times as many as are wanted, then for more, at most for so many.
OVERFETCH, MOST_FETCHED = 8, 4_096
#: Nodes changed in one query: readers wait meanwhile.
BATCH = 200
#: A graph that is full is brought down to this share of its limit, so that it is not full again at once.
ROOM = 0.99
#: What is looked up by its value.
LOOKED_UP = ("id", "audience", "ref", "user", "at")
#: Of a question, so many words are looked for, each cut to so many characters.
MOST_WORDS, LONGEST_WORD = 32, 64
#: Letters of any script, digits and _: everything else may mean something to the full-text index.
WORD = re.compile(r"[^\x00-/:-@\[-^`{-\x7f\s]+")

#: What finds everything of a channel, or of a user.
NamedBy = Literal["ref", "user"]

#: Not by the index of users: it does not find those without a name (FalkorDB 4.22).
WITHIN = "m.ref IN $channels AND toString(m.user) IN $users"
SEEN_FROM_HERE = "m.audience IN $audiences"
#: Given by every search, in the order of `Found`.
FOUND = "m.id, m.ref, m.text, m.audience, m.at"


@dataclass(frozen=True)
class EmbeddingModel:
    """What made a vector."""

    name: str
    dimension: int

    @property
    def attribute(self) -> str:
        """What its vectors are called in the graph."""
        return "vector_" + hashlib.sha256(f"{self.name}/{self.dimension}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class GraphEntry:
    """A message as the graph has it; its id is unique among all channels."""

    id: str
    ref: str
    user: str
    text: str
    audience: str
    at: datetime


@dataclass(frozen=True)
class Found:
    """A message that a search has found."""

    id: str
    ref: str
    text: str
    audience: str
    at: datetime


class MessageGraph:
    """The graph of one tenant's messages."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    # What it is made with

    async def model(self) -> EmbeddingModel | None:
        """What made the vectors that searches compare; none in a graph that nobody has written to."""
        if not await self._graph.exists():
            return None
        rows = await self._graph.read("MATCH (s:Search) RETURN s.model, s.dimension")
        return EmbeddingModel(*rows[0]) if rows else None

    async def prepare(self, model: EmbeddingModel) -> None:
        """
        Have searches compare this model's vectors from now on, and make what is missing of indexes.

        In this order: the server has crashed on a unique constraint for a label that has nodes and a
        full-text index (FalkorDB 4.22), so the constraint comes before either.
        """
        before = await self.model()
        if before == model:
            return
        for attribute in LOOKED_UP:
            await self._make(f"CREATE INDEX FOR (m:Message) ON (m.{attribute})")
        if "FULLTEXT" not in str(await self._graph.read("CALL db.indexes() YIELD types")):
            await self._refuse_doubles()
            await self._make("CALL db.idx.fulltext.createNodeIndex('Message', 'text')")
        if before:
            await self._make(f"DROP VECTOR INDEX FOR (m:Message) ON (m.{before.attribute})")
        await self._make(
            f"CREATE VECTOR INDEX FOR (m:Message) ON (m.{model.attribute}) "
            f"OPTIONS {{dimension: {model.dimension:d}, similarityFunction: 'cosine'}}"
        )
        # Last, so that whoever is stopped before begins again.
        await self._graph.write(
            "MERGE (s:Search {id: 'messages'}) SET s.model = $model, s.dimension = $dimension",
            model=model.name,
            dimension=model.dimension,
        )

    async def _make(self, query: str) -> None:
        try:
            await self._graph.write(query)
        except ResponseError as error:
            # Somebody else was sooner, or an attempt that was stopped.
            if not re.search("already indexed|no such index", str(error)):
                raise

    async def _refuse_doubles(self) -> None:
        try:
            await self._graph.make_unique("Message", "id")
        except ResponseError as error:
            if "already exists" not in str(error):
                raise
        for _ in range(500):
            if "PENDING" not in str(await self._graph.read("CALL db.constraints() YIELD status")):
                return
            await asyncio.sleep(0.02)
        raise Overloaded("the graph has not finished its constraint within 10 s")

    # What is in it

    async def put(
        self,
        model: EmbeddingModel,
        entries: Iterable[tuple[GraphEntry, Sequence[float]]],
        *,
        known: bool = False,
    ) -> None:
        """
        Add these messages, each with its vector, or replace what is there of them.

        ``known``: only replace, so that what has been removed meanwhile does not come back.
        """
        rows = [{**asdict(entry), "at": to_ms(entry.at), "vector": [*vector]} for entry, vector in entries]
        await self._graph.write(
            f"UNWIND $rows AS row {'MATCH' if known else 'MERGE'} (m:Message {{id: row.id}}) "
            "SET m = {id: row.id, ref: row.ref, user: row.user, text: row.text, audience: row.audience, "
            f"at: row.at, model: $model, {model.attribute}: vecf32(row.vector)}}",
            rows=rows,
            model=model.name,
        )

    async def outdated(self, model: EmbeddingModel, limit: int) -> list[GraphEntry]:
        """Some messages that have no vector of this model."""
        rows = await self._graph.read(
            f"MATCH (m:Message) WHERE m.{model.attribute} IS NULL "
            f"RETURN m.id, m.ref, m.user, m.text, m.audience, m.at LIMIT {limit:d}"
        )
        return [
            GraphEntry(id, ref, user, text, audience, from_ms(at))
            for id, ref, user, text, audience, at in rows
        ]

    async def count(self) -> int:
        return int((await self._graph.read("MATCH (m:Message) RETURN count(m)"))[0][0])

    async def remove(self, ids: Collection[str]) -> int:
        return await self._remove("m.id IN $ids", ids=list(ids)) if ids else 0

    async def remove_of(self, by: NamedBy, name: str) -> int:
        """Remove all that was said in a channel, or by a user, and what the server remembers of it."""
        removed = await self._remove(f"m.{by} = $name", name=name)
        await self._graph.forget_queries()
        return removed

    async def remove_within(self, channels: Collection[str], users: Collection[str]) -> int:
        """Remove all that these users said in these channels."""
        return await self._remove(WITHIN, channels=[*channels], users=[*users])

    async def remove_before(self, at: datetime) -> int:
        """Remove all that was said before this instant."""
        return await self._remove("m.at < $at", at=to_ms(at))

    async def count_of(self, by: NamedBy, name: str) -> int:
        return await self._count(f"m.{by} = $name", name=name)

    async def count_within(self, channels: Collection[str], users: Collection[str]) -> int:
        return await self._count(WITHIN, channels=[*channels], users=[*users])

    async def channels_of(self, user: str) -> list[str]:
        """Where this user has said something."""
        if not await self._graph.exists():
            return []
        rows = await self._graph.read(
            "MATCH (m:Message) WHERE m.user = $user RETURN DISTINCT m.ref", user=user
        )
        return [ref for (ref,) in rows]

    async def trim(self, most: int) -> int:
        """Remove the oldest if there are more than this, with some room for the next."""
        if (there := await self.count()) <= most:
            return 0
        rows = await self._graph.read(
            f"MATCH (m:Message) RETURN m.at ORDER BY m.at SKIP {there - int(most * ROOM) - 1:d} LIMIT 1"
        )
        return await self._remove("m.at <= $at", at=rows[0][0])

    async def change_audience(self, ref: str, before: str, after: str) -> int:
        """Give this audience to the messages of a channel that had the one before."""
        return await self._in_batches(
            "MATCH (m:Message {ref: $ref, audience: $before})", "SET m.audience = $after",
            ref=ref, before=before, after=after,
        )  # fmt: skip

    async def _count(self, which: str, **parameters: Any) -> int:
        if not await self._graph.exists():
            return 0
        rows = await self._graph.read(f"MATCH (m:Message) WHERE {which} RETURN count(m)", **parameters)
        return int(rows[0][0])

    async def _remove(self, which: str, **parameters: Any) -> int:
        return await self._in_batches(f"MATCH (m:Message) WHERE {which}", "DETACH DELETE m", **parameters)

    async def _in_batches(self, which: str, change: str, **parameters: Any) -> int:
        if not await self._graph.exists():
            return 0
        changed = 0
        while True:
            ((number,),) = await self._graph.write(
                f"{which} WITH m LIMIT {BATCH} {change} RETURN count(m)", **parameters
            )
            changed += int(number)
            if number < BATCH:
                return changed

    # Searching

    async def nearest(
        self, model: EmbeddingModel, vector: Sequence[float], audiences: Collection[str], limit: int
    ) -> list[Found]:
        """The messages of these audiences that mean most nearly the same, the nearest first."""
        asked: dict[str, Any] = {"vector": [*vector], "audiences": [*audiences]}
        visible = await self._graph.read(
            f"MATCH (m:Message) WHERE {SEEN_FROM_HERE} RETURN count(m)", audiences=asked["audiences"]
        )
        if visible[0][0] <= COMPARED:
            return _found(
                await self._graph.read(
                    f"MATCH (m:Message) WHERE {SEEN_FROM_HERE} AND m.{model.attribute} IS NOT NULL "
                    f"WITH m, vec.cosineDistance(m.{model.attribute}, vecf32($vector)) AS distance "
                    f"RETURN {FOUND} ORDER BY distance LIMIT {limit:d}",
                    **asked,
                )
            )
        fetched = limit * OVERFETCH
        while True:
            found = await self._graph.read(
                f"CALL db.idx.vector.queryNodes('Message', '{model.attribute}', {fetched:d}, "
                f"vecf32($vector)) YIELD node AS m, score WHERE {SEEN_FROM_HERE} "
                f"RETURN {FOUND} ORDER BY score LIMIT {limit:d}",
                **asked,
            )
            if len(found) >= limit or fetched >= MOST_FETCHED:
                return _found(found)
            fetched = min(fetched * OVERFETCH, MOST_FETCHED)

    async def matching(self, question: str, audiences: Collection[str], limit: int) -> list[Found]:
        """The messages of these audiences that share words with the question, the best match first."""
        words = dict.fromkeys(word[:LONGEST_WORD] for word in WORD.findall(readable(question)))
        if not words:
            return []
        return _found(
            await self._graph.read(
                "CALL db.idx.fulltext.queryNodes('Message', $words) YIELD node AS m, score "
                f"WHERE {SEEN_FROM_HERE} RETURN {FOUND} ORDER BY score DESC, m.at DESC LIMIT {limit:d}",
                words="|".join(list(words)[:MOST_WORDS]),
                audiences=[*audiences],
            )
        )


def _found(rows: Iterable[Sequence[Any]]) -> list[Found]:
    return [Found(id, ref, text, audience, from_ms(at)) for id, ref, text, audience, at in rows]
