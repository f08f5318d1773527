"""What is asked of one deployment across its features."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from nightshift.base.refs import ChannelRef
from nightshift.status.overview import Overview, await_ready, read_overview, unreachable
from nightshift.status.why import Why

if TYPE_CHECKING:  # a tenth of a second, for commands that ask of one feature alone
    from redis.asyncio import Redis

    from nightshift.agents.wiring import AgentParts
    from nightshift.channels.wiring import ChannelParts
    from nightshift.controls.wiring import ControlParts
    from nightshift.deliveries.wiring import DeliveryParts
    from nightshift.heartbeats.wiring import HeartbeatParts
    from nightshift.intake.wiring import IntakeParts
    from nightshift.llm.wiring import LlmParts
    from nightshift.memory.wiring import MemoryParts
    from nightshift.runs.wiring import RunParts
    from nightshift.settings import Settings
    from nightshift.status.channel import ChannelView


class Features(Protocol):
    """The features of a deployment, each made when it is first asked for."""

    @property
    def settings(self) -> Settings: ...
    @property
    def broker(self) -> Redis: ...
    @property
    def runs(self) -> RunParts: ...
    @property
    def agents(self) -> AgentParts: ...
    @property
    def channels(self) -> ChannelParts: ...
    @property
    def controls(self) -> ControlParts: ...
    @property
    def llm(self) -> LlmParts: ...
    @property
    def memory(self) -> MemoryParts: ...
    @property
    def deliveries(self) -> DeliveryParts: ...
    @property
    def heartbeats(self) -> HeartbeatParts: ...
    @property
    def intake(self) -> IntakeParts: ...


@dataclass(eq=False)
class StatusParts:
    """How everything stands, and why something did or did not."""

    here: Features

    async def overview(self) -> Overview:
        """See whether everything is there, and what keeps models from being asked and platforms from us."""
        liveness = self.here.agents.liveness
        return await read_overview(
            self.here.runs.ledger, self.here.controls.switches, liveness, warn=self._warn
        )

    async def _warn(self) -> list[str]:
        from nightshift.llm.endpoint_health import read_endpoints

        llm = self.here.llm
        endpoints = await read_endpoints(self.here.settings.all_endpoints, llm.breaker, llm.key_pools)
        warnings = [warning for endpoint in endpoints for warning in endpoint.warnings]
        return warnings + await unreachable(self.here.intake.connections, self.here.settings.platforms)

    async def await_ready(self, patience: timedelta) -> Overview:
        """Look until the deployment is ready or patience ends; the last look tells which."""
        return await await_ready(self.overview, patience)

    async def channel(self, ref: ChannelRef) -> ChannelView:
        """What there is to see of a channel; raises UnknownChannel."""
        from nightshift.status.channel import view_channel

        return await view_channel(
            self.here.runs.ledger, self.here.memory.messages, self.here.heartbeats.visits, ref
        )

    async def why_run(self, run: str) -> Why:
        """Say why this run is where it is."""
        from nightshift.status.why_run import why_run

        deliveries, liveness = self.here.deliveries.store, self.here.agents.liveness
        return await why_run(self.here.runs.ledger, deliveries, liveness, self.here.broker, run)

    async def why_job(self, name: str, *, at: datetime | None = None) -> Why:
        """Say whether this job is on, and what became of its slot at this instant, or of its last one."""
        from nightshift.status.why_job import why_job

        return await why_job(self.here.runs.ledger, name, at=at)

    async def why_channel(self, ref: ChannelRef) -> Why:
        """Say whether this channel is visited, what became of its last visits, and when the next comes."""
        from nightshift.status.why_channel import why_channel

        board, rules = await self.here.controls.switches.read(), await self.here.heartbeats.rule_book.read()
        return await why_channel(self.here.runs.ledger, self.here.channels.store, board, rules, ref)
