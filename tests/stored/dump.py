"""
A store as text: every key on a line of its own, in order, so that people and diffs can read it.

This knows Redis and FalkorDB, and nothing of nightshift: what it reads and writes is the same whatever
becomes of the code. Graphs in the same server are left out of `dump`; `dump_graph` writes them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

from falkordb.helpers import stringify_param_value
from redis.asyncio import Redis

#: What is written at once.
BATCH = 500
INDEXES, CONSTRAINTS = "CALL db.indexes()", "CALL db.constraints()"
TYPES = ("string", "hash", "list", "set", "zset", "stream")


def line_of(**facts: Any) -> str:
    return json.dumps(facts, ensure_ascii=False)


# Keys


async def dump(redis: Redis) -> list[str]:
    """Every key with its type and value, and in how many milliseconds it expires, if it does."""
    keys = sorted([key async for key in redis.scan_iter("*", count=1000)])
    lines = []
    for key in keys:
        kind = str(await redis.type(key))
        if kind in TYPES:
            ttl: int = await redis.pttl(key)
            expires = {"ttl": ttl} if ttl >= 0 else {}
            lines.append(line_of(key=key, type=kind, **expires, value=await _read(redis, key, kind)))
    return lines


async def _read(redis: Redis, key: str, kind: str) -> Any:
    client: Any = redis
    match kind:
        case "string":
            return await client.get(key)
        case "hash":
            return dict(sorted((await client.hgetall(key)).items()))
        case "list":
            return await client.lrange(key, 0, -1)
        case "set":
            return sorted(await client.smembers(key))
        case "zset":
            entries = await client.zrange(key, 0, -1, withscores=True)
            return {member: _plain(score) for member, score in entries}
        case _:
            return dict(await client.xrange(key))


def _plain(score: float) -> int | float:
    return int(score) if score.is_integer() else score


def read_lines(lines: Iterable[str]) -> dict[str, Any]:
    """What each line says of its key, by key."""
    return {row["key"]: row for row in map(json.loads, lines) if "key" in row}


async def load(redis: Redis, lines: Iterable[str]) -> None:
    """Write the keys of these lines, each with the time that it still had to live."""
    pipeline: Any = redis.pipeline(transaction=False)
    for key, row in read_lines(lines).items():
        _write(pipeline, key, row["type"], row["value"])
        if "ttl" in row:
            pipeline.pexpire(key, row["ttl"])
        if len(pipeline) >= BATCH:
            await pipeline.execute()
    await pipeline.execute()


def _write(pipeline: Any, key: str, kind: str, value: Any) -> None:
    match kind:
        case "string":
            pipeline.set(key, value)
        case "hash":
            pipeline.hset(key, mapping=value)
        case "list":
            pipeline.rpush(key, *value)
        case "set":
            pipeline.sadd(key, *value)
        case "zset":
            pipeline.zadd(key, value)
        case "stream":
            for id, fields in value.items():
                pipeline.xadd(key, fields, id=id)
        case _:
            raise ValueError(f"key {key!r} is a {kind!r}, which this cannot write")


# Graphs


async def dump_graph(graphs: Redis, name: str) -> list[str]:
    """The indexes, constraints, nodes and edges of one graph, each vector as {"vector": [...]}."""
    lines = []
    for label, types, options in sorted(await _rows(graphs, name, f"{INDEXES} YIELD label, types, options")):
        for attribute, kinds in sorted(types.items()):
            lines += [
                line_of(index=kind, label=label, attribute=attribute, options=options[attribute])
                for kind in sorted(kinds)
            ]
    constraints = await _rows(graphs, name, f"{CONSTRAINTS} YIELD type, label, properties")
    lines += [
        line_of(constraint=kind, label=label, attributes=attributes)
        for kind, label, attributes in sorted(constraints)
    ]
    nodes = "MATCH (n) RETURN id(n), labels(n), keys(n), [k IN keys(n) | n[k]] ORDER BY id(n)"
    lines += [
        line_of(node=id, labels=labels, properties=_named(names, values))
        for id, labels, names, values in await _rows(graphs, name, nodes)
    ]
    edges = (
        "MATCH (a)-[e]->(b) RETURN type(e), id(a), id(b), keys(e), [k IN keys(e) | e[k]] "
        "ORDER BY id(a), id(b), type(e)"
    )
    lines += [
        line_of(edge=kind, start=start, end=end, properties=_named(names, values))
        for kind, start, end, names, values in await _rows(graphs, name, edges)
    ]
    return lines


def _named(names: list[str], values: list[Any]) -> dict[str, Any]:
    return dict(sorted(zip(names, values, strict=True)))


async def _rows(graphs: Redis, name: str, query: str) -> list[list[Any]]:
    """The answer's rows, with the types that only the compact form tells."""
    _, rows, _ = await _send(graphs, "GRAPH.RO_QUERY", name, query, "--compact")
    return [[_value(*cell) for cell in row] for row in rows]


def _value(kind: int, value: Any) -> Any:
    """One value as the compact form writes it."""
    match kind:
        case 4:
            return value == "true"
        case 5:
            return float(value)
        case 6:
            return [_value(*each) for each in value]
        case 10:
            return {name: _value(*each) for name, each in zip(value[::2], value[1::2], strict=True)}
        case 12:
            return {"vector": [float(each) for each in value]}
        case 1 | 2 | 3:
            return value
    raise ValueError(f"a value of type {kind} is none that this can write down: {value!r}")


async def load_graph(graphs: Redis, name: str, lines: Iterable[str]) -> None:
    """Write a graph that is not there yet, and wait until it can be searched."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    # A unique constraint comes before the full-text index and before any node, or the server may crash.
    for row in _with(rows, "index", "RANGE"):
        await _query(graphs, name, f"CREATE INDEX FOR (n:{row['label']}) ON (n.{row['attribute']})")
    for row in [row for row in rows if "constraint" in row]:
        what = (row["constraint"], "NODE", row["label"], "PROPERTIES", len(row["attributes"]))
        await _send(graphs, "GRAPH.CONSTRAINT", "CREATE", name, *what, *row["attributes"])
    await _until_made(graphs, name, CONSTRAINTS)
    for row in _with(rows, "index", "FULLTEXT"):
        of = {"label": row["label"], "attribute": row["attribute"]}
        await _query(graphs, name, "CALL db.idx.fulltext.createNodeIndex($label, $attribute)", **of)
    for row in _with(rows, "index", "VECTOR"):
        kept = row["options"]
        where = f"FOR (n:{row['label']}) ON (n.{row['attribute']})"
        how = f"dimension: {kept['dimension']}, similarityFunction: '{kept['similarityFunction']}'"
        await _query(graphs, name, f"CREATE VECTOR INDEX {where} OPTIONS {{{how}}}")
    ids: dict[int, int] = {}
    for row in [row for row in rows if "node" in row]:
        labels = "".join(f":{label}" for label in row["labels"])
        created = await _query(graphs, name, f"CREATE (n{labels} {_map(row)}) RETURN id(n)", **_values(row))
        ids[row["node"]] = created[0][0]
    for row in [row for row in rows if "edge" in row]:
        ends = {"start": ids[row["start"]], "end": ids[row["end"]]}
        create = f"CREATE (a)-[:{row['edge']} {_map(row)}]->(b)"
        found = "MATCH (a), (b) WHERE id(a) = $start AND id(b) = $end"
        await _query(graphs, name, f"{found} {create}", **ends, **_values(row))
    await _until_made(graphs, name, INDEXES)


def _with(rows: Iterable[dict[str, Any]], name: str, value: str) -> list[dict[str, Any]]:
    return [row for row in rows if row.get(name) == value]


def _map(row: Mapping[str, Any]) -> str:
    """The properties as a query names them, each by a parameter."""
    written = (
        f"{name}: vecf32($p{number})" if isinstance(value, dict) else f"{name}: $p{number}"
        for number, (name, value) in enumerate(row["properties"].items())
    )
    return f"{{{', '.join(written)}}}"


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    values = row["properties"].values()
    return {
        f"p{number}": value["vector"] if isinstance(value, dict) else value
        for number, value in enumerate(values)
    }


async def _query(graphs: Redis, name: str, query: str, **parameters: Any) -> list[list[Any]]:
    given = "".join(f" {key}={stringify_param_value(value)}" for key, value in parameters.items())
    answer = await _send(graphs, "GRAPH.QUERY", name, f"CYPHER{given} {query}" if given else query)
    return cast(list[list[Any]], answer[1]) if len(answer) == 3 else []


async def _until_made(graphs: Redis, name: str, listing: str) -> None:
    """Wait until what the server makes in the background is there."""
    async with asyncio.timeout(10):
        while any(
            status != "OPERATIONAL" for (status,) in await _rows(graphs, name, f"{listing} YIELD status")
        ):
            await asyncio.sleep(0.02)


async def _send(graphs: Redis, *words: Any) -> Any:
    client: Any = graphs
    return await client.execute_command(*words)
