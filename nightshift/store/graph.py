"""One graph of FalkorDB: what people wrote reaches it as a parameter, never as part of a query."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.errors import Overloaded
from nightshift.base.masking import reason_of
from nightshift.store.client import AWAY, command

#: Why whatever needs a graph is off without one.
NO_GRAPH = "no graph is set; set NIGHTSHIFT_GRAPH_URL"
READ_WITHIN = timedelta(seconds=2)
#: Less than the client waits for an answer: what it repeats must not still be going on.
WRITE_WITHIN = timedelta(seconds=4)


class Graph:
    """Queries of one graph, each under a time limit."""

    def __init__(self, graphs: Redis, name: str) -> None:
        self.name = name
        self._graphs = graphs

    async def read(self, query: str, /, **parameters: Any) -> list[list[Any]]:
        """The rows of a query that changes nothing."""
        return await self._ask("GRAPH.RO_QUERY", query, parameters, READ_WITHIN)

    async def write(self, query: str, /, **parameters: Any) -> list[list[Any]]:
        """Change the graph. The client repeats what stayed unanswered, so it must be safe to repeat."""
        return await self._ask("GRAPH.QUERY", query, parameters, WRITE_WITHIN)

    async def exists(self) -> bool:
        return bool(await self._send("EXISTS", self.name))

    async def make_unique(self, label: str, attribute: str) -> None:
        """Refuse a second node of this label with the same value."""
        await self._send(
            "GRAPH.CONSTRAINT", "CREATE", self.name, "UNIQUE", "NODE", label, "PROPERTIES", 1, attribute
        )

    async def forget_queries(self) -> None:
        """Drop what the server remembers of queries, because their parameters are among it."""
        if await self.exists():
            await self._send("GRAPH.SLOWLOG", self.name, "RESET")
        await self._send("DEL", f"telemetry{{{self.name}}}")

    async def _ask(
        self, how: str, query: str, parameters: dict[str, Any], within: timedelta
    ) -> list[list[Any]]:
        milliseconds = round(within.total_seconds() * 1000)
        answer = await self._send(how, self.name, _header(parameters) + query, "TIMEOUT", milliseconds)
        return cast(list[list[Any]], answer[1]) if len(answer) == 3 else []

    async def _send(self, *words: str | int) -> Any:
        try:
            return await command(self._graphs, *words)
        except AWAY as error:
            raise Overloaded(f"the graph does not answer: {reason_of(error)}") from error
        except RedisError as error:
            if "timed out" in str(error):
                raise Overloaded("the graph took too long and cut the query off") from error
            raise


def _header(parameters: dict[str, Any]) -> str:
    from falkordb.helpers import stringify_param_value

    values = (f"{name}={stringify_param_value(readable(value))}" for name, value in parameters.items())
    return f"CYPHER {' '.join(values)} " if parameters else ""


def readable(value: Any) -> Any:
    """The value as the graph can read it: no NUL, which would end the query, and no lone surrogates."""
    match value:
        case str():
            return value.replace("\0", "").encode(errors="replace").decode()
        case list() | tuple():
            return [readable(each) for each in value]
        case dict():
            return {name: readable(each) for name, each in value.items()}
    return value
