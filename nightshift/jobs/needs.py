"""What is there for jobs to stand on, found out by looking."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.errors import BadSetting
from nightshift.controls.switches import SwitchBoard
from nightshift.jobs.row import Need
from nightshift.llm.endpoints import key_sources
from nightshift.llm.settings import LlmSection
from nightshift.store.client import command
from nightshift.store.graph import NO_GRAPH


async def missing_needs(settings: LlmSection, board: SwitchBoard, graph: Redis | None) -> dict[Need, str]:
    """What is not there, each with the reason and the remedy."""
    missing = {}
    if problem := await _graph_problem(graph):
        missing[Need.GRAPH] = problem
    if board.frozen:
        missing[Need.CHAT_LLM] = board.frozen.describe()
    elif not board.is_on("chat_llm_enabled"):
        missing[Need.CHAT_LLM] = "switch chat_llm_enabled is off"
    elif board.models_closed:
        missing[Need.CHAT_LLM] = board.models_closed
    elif not settings.has_model:
        missing[Need.CHAT_LLM] = "no model is set; set NIGHTSHIFT_MODEL__URL"
    if problem := _key_pool_problem(settings):
        missing[Need.KEY_POOL] = problem
    return missing


def _key_pool_problem(settings: LlmSection) -> str:
    try:
        if any(read() for read in key_sources(settings).values()):
            return ""
    except BadSetting as error:
        return str(error)
    return "no endpoint has a key; put it, or several, into its keys_file, one a line"


async def _graph_problem(graph: Redis | None) -> str:
    if graph is None:
        return NO_GRAPH
    try:
        await command(graph, "GRAPH.LIST")
    except RedisError as error:
        if "unknown command" in str(error).lower():
            return "the server at NIGHTSHIFT_GRAPH_URL has no FalkorDB module"
        return f"the graph does not answer: {error}"
    return ""
