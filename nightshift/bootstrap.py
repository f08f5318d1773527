"""
Where the real parts are chosen and put together; every process asks here, once.

Clients belong to the event loop they were made on, so there is one set per loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.base.files import private_folder
from nightshift.channels.channels import Channels
from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.forgetting import DeliveryForgetter
from nightshift.deliveries.sending import Sender
from nightshift.forgetting import Forgetting
from nightshift.graph.census import graph_part
from nightshift.heartbeats.beats import Beats
from nightshift.heartbeats.forgetting import BeatForgetter
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.llm import lexical
from nightshift.llm.breaker import Breaker
from nightshift.llm.calls import Calls
from nightshift.llm.endpoints import endpoint_part, key_sources
from nightshift.llm.keypool import KeyPool
from nightshift.llm.models import Models
from nightshift.llm.uses import Uses
from nightshift.machine import servers
from nightshift.memory.embedding import Embedding
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.forgetting import ReplyForgetter, SummaryForgetter, VectorForgetter
from nightshift.memory.limits import Limits
from nightshift.memory.message_graph import EmbeddingModel, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.memory.recall import Recall
from nightshift.memory.summaries import Summaries
from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.platforms.owner import owner_of
from nightshift.processes.liveness_file import Liveness
from nightshift.processes.resources import Parts
from nightshift.runs.forgetting import EventForgetter, RunForgetter
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import Rules
from nightshift.settings import Settings, load_settings
from nightshift.store.client import new_client
from nightshift.store.graph import Graph
from nightshift.store.keys import Keys

if TYPE_CHECKING:
    from nightshift.heartbeats.beating import Beating
    from nightshift.heartbeats.thinking import Thinking
    from nightshift.intake.backfill import Backfill
    from nightshift.memory.summarising import Summarising
    from nightshift.platforms.platform import Platform
    from nightshift.work.writing import Writing

NO_GRAPH = "no graph is set; set NIGHTSHIFT_GRAPH_URL"

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Redis]] = WeakKeyDictionary()
_parts: WeakKeyDictionary[asyncio.AbstractEventLoop, Parts] = WeakKeyDictionary()
_platforms: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Platform]] = WeakKeyDictionary()
_beatings: WeakKeyDictionary[asyncio.AbstractEventLoop, Beating] = WeakKeyDictionary()
_purses: WeakKeyDictionary[asyncio.AbstractEventLoop, Purse] = WeakKeyDictionary()
_freezes: WeakKeyDictionary[asyncio.AbstractEventLoop, Freeze] = WeakKeyDictionary()
_models: WeakKeyDictionary[asyncio.AbstractEventLoop, Models] = WeakKeyDictionary()


@cache
def settings() -> Settings:
    return load_settings()


@cache
def keys() -> Keys:
    return Keys(settings().key_root)


def state_url() -> str:
    return servers.state_url(settings())


def broker_url() -> str:
    return servers.broker_url(settings())


def graph_url() -> str | None:
    return servers.graph_url(settings())


def plain_broker_url() -> str:
    return servers.plain_broker_url(settings())


def broker() -> Redis:
    """Celery's Redis, as plain Redis."""
    return client(plain_broker_url())


def client(url: str) -> Redis:
    """The running loop's client of this server."""
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    if url not in clients:
        clients[url] = new_client(url)
    return clients[url]


def state() -> Redis:
    return client(state_url())


def ledger() -> Ledger:
    return Ledger(state(), keys(), rules())


@cache
def rules() -> Rules:
    return Rules.for_lease(timedelta(seconds=settings().lease_seconds), share=settings().tenant_share)


def switches() -> Switches:
    return Switches(state(), keys(), settings())


def caps() -> Caps:
    return Caps(state(), keys(), settings().budget)


def purse() -> Purse:
    """The running loop's purse: one, so that what it could not settle is settled with the next call."""
    loop = asyncio.get_running_loop()
    if loop not in _purses:
        _purses[loop] = Purse(state(), keys(), caps())
    return _purses[loop]


def freeze() -> Freeze:
    """The running loop's freeze: one, so that all its calls are watched by one poll."""
    loop = asyncio.get_running_loop()
    if loop not in _freezes:
        _freezes[loop] = Freeze(state(), keys())
    return _freezes[loop]


def breaker() -> Breaker:
    return Breaker(state(), keys())


@cache
def uses() -> Uses:
    return Uses(settings())


def key_pools() -> dict[str, KeyPool]:
    """The keys of each endpoint that asks for one."""
    return {name: KeyPool(state(), keys(), read, name) for name, read in key_sources(settings()).items()}


def calls(pools: Mapping[str, KeyPool]) -> Calls:
    """What calls endpoints, with keys of these pools."""
    return Calls(parts(), purse=purse(), freeze=freeze(), breaker=breaker(), pools=pools)


def models() -> Models:
    """The running loop's way to ask a model: one, so that what it learns of an endpoint is kept."""
    loop = asyncio.get_running_loop()
    if loop not in _models:
        _models[loop] = Models(uses(), calls(key_pools()))
    return _models[loop]


def channels() -> Channels:
    return Channels(state(), keys())


def messages() -> Messages:
    return Messages(state(), keys(), Limits.of(settings()))


def forgetting() -> Forgetting:
    """Every store that may know something of a user or a channel."""
    from nightshift.platforms.forgetting import RoomForgetter

    others = (
        RunForgetter(ledger()),
        DeliveryForgetter(deliveries()),
        RoomForgetter(platforms().values()),
        # Until their runs were stopped agents may have said something more.
        ReplyForgetter(messages()),
        BeatForgetter(beats()),
        recalled(),
        SummaryForgetter(summaries()),
        EventForgetter(ledger()),
    )
    return Forgetting(
        state(), keys(), messages(), others, spoke_in=[recalled().channels_of, summaries().channels_of]
    )


def recalled() -> VectorForgetter:
    """What can be recalled, to be forgotten."""
    return VectorForgetter(client(url) if (url := graph_url()) else None, messages())


def message_graph(tenant: str) -> MessageGraph:
    """The graph of what was said to one tenant's agents."""
    url = graph_url()
    if url is None:
        raise BadSetting(NO_GRAPH)
    return MessageGraph(Graph(client(url), keys().message_graph(tenant)))


def embedding_queue() -> EmbeddingQueue:
    return EmbeddingQueue(ledger(), messages(), off="" if graph_url() else NO_GRAPH)


def embedding() -> Embedding:
    """What gives messages their vectors."""
    chain = uses().chain("embed").models
    first_choice = chain[0].name if chain else lexical.MODEL
    return Embedding(embedding_queue(), messages(), models(), message_graph, first_choice=first_choice)


def recall() -> Recall:
    return Recall(messages(), models(), message_graph, off="" if graph_url() else NO_GRAPH)


def summaries() -> Summaries:
    return Summaries(state(), keys())


def summarising() -> Summarising:
    """What brings summaries up to date."""
    from nightshift.memory.summarising import Summarising

    return Summarising(models(), messages(), summaries())


def backfill() -> Backfill:
    """What reads the past of channels."""
    from nightshift.agents.liveness import AgentLiveness
    from nightshift.intake.backfill import Backfill
    from nightshift.intake.connections import Connections

    async def model_of(tenant: str) -> EmbeddingModel | None:
        return await message_graph(tenant).model()

    return Backfill(
        platforms(),
        partial(owner_of, settings()),
        AgentLiveness(state(), keys()).bots,
        Connections(state(), keys()),
        messages(),
        embedding_queue(),
        model_of,
    )


def deliveries() -> Deliveries:
    return Deliveries(state(), keys(), switches())


def sender() -> Sender:
    """What sends a delivery, by the running loop's platforms."""
    from nightshift.deliveries.echo import recording_in

    return Sender(
        deliveries(), platforms(), partial(owner_of, settings()), freeze(), recording_in(messages())
    )


def beats() -> Beats:
    return Beats(state(), keys())


def rule_book() -> RuleBook:
    return RuleBook(state(), keys(), settings().heartbeat)


def beating() -> Beating:
    """What carries beats out: one for the loop, so that of many at once one asks what is in the way."""
    from nightshift.agents.liveness import AgentLiveness
    from nightshift.heartbeats.beating import Beating
    from nightshift.heartbeats.outside import Reach, Surroundings

    loop = asyncio.get_running_loop()
    if loop not in _beatings:
        reach = Reach(ledger(), platforms(), AgentLiveness(state(), keys()))
        outside = Surroundings(ledger(), freeze(), purse(), reach, settings())
        _beatings[loop] = Beating(ledger(), rule_book(), settings(), outside)
    return _beatings[loop]


def thinking() -> Thinking:
    """What looks into a channel."""
    from nightshift.agents import agent
    from nightshift.heartbeats.background import Background
    from nightshift.heartbeats.thinking import Thinking
    from nightshift.work.runner import hand_to_runner

    return Thinking(
        models=models(),
        messages=messages(),
        channels=channels(),
        beats=beats(),
        rules=rule_book(),
        agent_of=partial(agent.of, settings()),
        hand_on=hand_to_runner,
        background=Background(summaries(), recall()).told,
    )


def writing() -> Writing:
    """What writes for agents that a model speaks for."""
    from nightshift.agents import agent
    from nightshift.work.writing import Writing

    return Writing(models(), messages(), deliveries(), partial(agent.of, settings()))


def parts() -> Parts:
    """The running loop's parts; each starts when it is first used."""
    loop = asyncio.get_running_loop()
    if loop not in _parts:
        endpoints = (endpoint_part(name, endpoint) for name, endpoint in uses().endpoints.items())
        _parts[loop] = Parts(*endpoints, graph_part(graph_url()))
    return _parts[loop]


def platforms() -> Mapping[str, Platform]:
    """The running loop's platforms by name: those of the settings, and rooms of our own."""
    from nightshift.platforms.known import new_platform  # beat talks to nobody

    loop = asyncio.get_running_loop()
    if loop not in _platforms:
        _platforms[loop] = {
            name: new_platform(name, each, state(), keys()) for name, each in settings().all_platforms.items()
        }
    return _platforms[loop]


def liveness(name: str) -> Liveness:
    """The file that says whether the process of this name works."""
    file = settings().liveness_file
    return Liveness(file or private_folder(settings().home / "run") / f"{name.replace('/', '_')}.alive")


async def close() -> None:
    """Close the running loop's clients, platforms and parts."""
    for platform in _platforms.pop(asyncio.get_running_loop(), {}).values():
        await platform.close()
    _beatings.pop(asyncio.get_running_loop(), None)
    _models.pop(asyncio.get_running_loop(), None)
    _purses.pop(asyncio.get_running_loop(), None)
    if watching := _freezes.pop(asyncio.get_running_loop(), None):
        await watching.close()
    if running := _parts.pop(asyncio.get_running_loop(), None):
        await running.close()
    for each in _clients.pop(asyncio.get_running_loop(), {}).values():
        await each.aclose()
