"""What is there for jobs to stand on, found out by looking."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.jobs.row import Need
from nightshift.settings import Settings
from nightshift.store import command
from nightshift.switches import SwitchBoard


async def missing_needs(settings: Settings, board: SwitchBoard, graph: Redis | None) -> dict[Need, str]:
    """What is not there, each with the reason and the remedy."""
    missing = {}
    if problem := await _graph_problem(graph):
        missing[Need.GRAPH] = problem
    if not board.is_on("chat_llm_enabled"):
        missing[Need.CHAT_LLM] = "switch chat_llm_enabled is off"
    elif not settings.model.url:
        missing[Need.CHAT_LLM] = "no model is set; set NIGHTSHIFT_MODEL__URL"
    return missing


async def _graph_problem(graph: Redis | None) -> str:
    if graph is None:
        return "no graph is set; set NIGHTSHIFT_GRAPH_URL"
    try:
        await command(graph, "GRAPH.LIST")
    except RedisError as error:
        if "unknown command" in str(error).lower():
            return "the server at NIGHTSHIFT_GRAPH_URL has no FalkorDB module"
        return f"the graph does not answer: {error}"
    return ""
