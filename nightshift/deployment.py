"""
The real parts of one deployment, as one event loop reaches them.

Every face makes its own, with as much patience as it has; tasks, whose loops are their worker's, ask for the
running loop's. Tests and benchmarks make theirs the same way. A feature says in its ``wiring.py`` what it is
made of; here it is said what each stands on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from functools import cache, cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from nightshift.access.wiring import AccessParts
from nightshift.agents.wiring import AgentParts
from nightshift.base.files import private_folder
from nightshift.channels.wiring import ChannelParts
from nightshift.controls.wiring import ControlParts
from nightshift.machine import servers
from nightshift.money.wiring import MoneyParts
from nightshift.processes.liveness_file import Liveness
from nightshift.processes.resources import Resources
from nightshift.runs.wiring import RunParts
from nightshift.settings import Settings, load_settings
from nightshift.store.client import new_client
from nightshift.store.ground import PATIENT, Ground, Patience
from nightshift.store.keys import Keys

if TYPE_CHECKING:  # the rest is imported by whoever comes to need it: beat asks no model and talks to nobody
    from nightshift.deliveries.wiring import DeliveryParts
    from nightshift.forgetting import Forgetting
    from nightshift.heartbeats.wiring import HeartbeatParts
    from nightshift.intake.wiring import IntakeParts
    from nightshift.llm.wiring import LlmParts
    from nightshift.memory.wiring import MemoryParts
    from nightshift.platforms.wiring import PlatformParts
    from nightshift.status.wiring import StatusParts
    from nightshift.work.wiring import WorkParts


class Deployment:
    """Made once from the settings; its parts are made when they are first asked for, and closed together."""

    def __init__(
        self,
        settings: Settings,
        patience: Patience = PATIENT,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the store's in tests."""
        self.settings = settings
        self.keys = Keys(settings.key_root)
        self._patience = patience
        self._clock = clock
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close whatever was made, the last first."""
        await self._closing.aclose()

    def client(self, url: str, patience: Patience | None = None) -> Redis:
        """A client of this server, closed with the rest."""
        given = patience or self._patience
        made = new_client(url, retries=given.retries, timeout=given.timeout.total_seconds())
        self._closing.push_async_callback(made.aclose)
        return made

    @cached_property
    def ground(self) -> Ground:
        """The state store and the graph."""
        graph = servers.graph_url(self.settings)
        return Ground(
            redis=self.client(servers.state_url(self.settings)),
            keys=self.keys,
            new_graphs=partial(self.client, graph) if graph else None,
            clock=self._clock,
            closing=self._closing,
        )

    @property
    def state(self) -> Redis:
        return self.ground.redis

    @cached_property
    def broker(self) -> Redis:
        """Celery's Redis, as plain Redis."""
        return self.client(servers.plain_broker_url(self.settings))

    @cached_property
    def resources(self) -> Resources:
        """What is costly to keep; each is started by its first use."""
        from nightshift.graph.wiring import graph_resources
        from nightshift.llm.wiring import llm_resources

        made = Resources(*llm_resources(self.settings), *graph_resources(servers.graph_url(self.settings)))
        self._closing.push_async_callback(made.close)
        return made

    # The features, from the ground up

    @cached_property
    def runs(self) -> RunParts:
        return RunParts(self.ground, self.settings)

    @cached_property
    def access(self) -> AccessParts:
        return AccessParts(self.ground)

    @cached_property
    def agents(self) -> AgentParts:
        return AgentParts(self.ground, self.settings)

    @cached_property
    def controls(self) -> ControlParts:
        return ControlParts(self.ground, self.settings)

    @cached_property
    def channels(self) -> ChannelParts:
        return ChannelParts(self.ground)

    @cached_property
    def platforms(self) -> PlatformParts:
        from nightshift.platforms.wiring import PlatformParts

        return PlatformParts(self.ground, self.settings)

    @cached_property
    def money(self) -> MoneyParts:
        return MoneyParts(self.ground, self.settings)

    @cached_property
    def llm(self) -> LlmParts:
        from nightshift.llm.wiring import LlmParts

        return LlmParts(
            self.ground,
            self.settings,
            resources=self.resources,
            purse=self.money.purse,
            freeze=self.controls.freeze,
        )

    @cached_property
    def memory(self) -> MemoryParts:
        from nightshift.memory.wiring import MemoryParts

        return MemoryParts(self.ground, self.settings, ledger=self.runs.ledger, llm=self.llm)

    @cached_property
    def deliveries(self) -> DeliveryParts:
        from nightshift.deliveries.wiring import DeliveryParts

        return DeliveryParts(
            self.ground,
            switches=self.controls.switches,
            freeze=self.controls.freeze,
            messages=self.memory.messages,
            platforms=self.platforms,
        )

    @cached_property
    def heartbeats(self) -> HeartbeatParts:
        from nightshift.heartbeats.wiring import HeartbeatParts
        from nightshift.work.runner import hand_to_runner

        return HeartbeatParts(
            self.ground,
            self.settings,
            ledger=self.runs.ledger,
            agents=self.agents,
            channels=self.channels,
            platforms=self.platforms,
            controls=self.controls,
            money=self.money,
            llm=self.llm,
            memory=self.memory,
            hand_on=hand_to_runner,
        )

    @cached_property
    def intake(self) -> IntakeParts:
        from nightshift.intake.wiring import IntakeParts

        return IntakeParts(
            self.ground,
            self.settings,
            agents=self.agents,
            platforms=self.platforms,
            memory=self.memory,
            heartbeats=self.heartbeats,
        )

    @cached_property
    def work(self) -> WorkParts:
        from nightshift.work.wiring import WorkParts

        return WorkParts(
            ledger=self.runs.ledger,
            agents=self.agents,
            llm=self.llm,
            messages=self.memory.messages,
            deliveries=self.deliveries.store,
        )

    @cached_property
    def status(self) -> StatusParts:
        from nightshift.status.wiring import StatusParts

        return StatusParts(self)

    @property
    def forgetting(self) -> Forgetting:
        """Every store that may know something of a user or a channel, in the order in which they forget."""
        from nightshift.forgetting import Forgetting

        forgetters = (
            # What was said goes first, so that nothing new is made of it while the others forget.
            *self.memory.said,
            self.runs.forgetter,
            self.deliveries.forgetter,
            self.platforms.forgetter,
            # Until their runs were stopped agents may have said something more.
            self.memory.replies,
            self.heartbeats.forgetter,
            *self.memory.made_of_it,
            self.runs.event_forgetter,
        )
        return Forgetting(self.state, self.keys, forgetters, spoke_in=self.memory.spoke_in)


@cache
def process_settings() -> Settings:
    """What this process was told; read once."""
    return load_settings()


_deployments: WeakKeyDictionary[asyncio.AbstractEventLoop, Deployment] = WeakKeyDictionary()


def deployment() -> Deployment:
    """The running loop's deployment, made of the process's settings when it is first asked for."""
    loop = asyncio.get_running_loop()
    if loop not in _deployments:
        _deployments[loop] = Deployment(process_settings())
    return _deployments[loop]


async def close_deployment() -> None:
    """Close the running loop's deployment, if there is one."""
    if there := _deployments.pop(asyncio.get_running_loop(), None):
        await there.close()


def import_features() -> None:
    """Import what tasks come to need: on a loop that renews leases, it would keep them all waiting."""
    for feature in ("work", "intake", "heartbeats", "deliveries", "graph", "memory", "llm", "platforms"):
        import_module(f"nightshift.{feature}.wiring")


def liveness(settings: Settings, name: str) -> Liveness:
    """The file that says whether the process of this name works."""
    file = settings.liveness_file or private_folder(settings.home / "run") / f"{name.replace('/', '_')}.alive"
    return Liveness(file)
