"""What is asked of one deployment across its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.asyncio import Redis

from nightshift.agents.wiring import AgentParts
from nightshift.base.refs import ChannelRef
from nightshift.channels.wiring import ChannelParts
from nightshift.controls.wiring import ControlParts
from nightshift.deliveries.wiring import DeliveryParts
from nightshift.heartbeats.wiring import HeartbeatParts
from nightshift.intake.wiring import IntakeParts
from nightshift.llm.endpoint_health import read_endpoints
from nightshift.llm.wiring import LlmParts
from nightshift.memory.wiring import MemoryParts
from nightshift.runs.ledger import Ledger
from nightshift.settings import Settings
from nightshift.status.channel import ChannelView, view_channel
from nightshift.status.overview import Overview, await_ready, read_overview, unreachable
from nightshift.status.why import Why
from nightshift.status.why_channel import why_channel
from nightshift.status.why_job import why_job
from nightshift.status.why_run import why_run


@dataclass(eq=False)
class StatusParts:
    """How everything stands, and why something did or did not."""

    settings: Settings
    ledger: Ledger
    broker: Callable[[], Redis]
    agents: AgentParts
    channels: ChannelParts
    controls: ControlParts
    llm: LlmParts
    memory: MemoryParts
    deliveries: DeliveryParts
    heartbeats: HeartbeatParts
    intake: IntakeParts

    async def overview(self) -> Overview:
        """See whether everything is there, and what keeps models from being asked and platforms from us."""
        liveness = self.agents.liveness
        return await read_overview(self.ledger, self.controls.switches, liveness, warn=self._warn)

    async def _warn(self) -> list[str]:
        llm = self.llm
        endpoints = await read_endpoints(self.settings.all_endpoints, llm.breaker, llm.key_pools)
        warnings = [warning for endpoint in endpoints for warning in endpoint.warnings]
        return warnings + await unreachable(self.intake.connections, self.settings.platforms)

    async def await_ready(self, patience: timedelta) -> Overview:
        """Look until the deployment is ready or patience ends; the last look tells which."""
        return await await_ready(self.overview, patience)

    async def channel(self, ref: ChannelRef) -> ChannelView:
        """What there is to see of a channel; raises UnknownChannel."""
        return await view_channel(self.ledger, self.memory.messages, self.heartbeats.visits, ref)

    async def why_run(self, run: str) -> Why:
        """Say why this run is where it is."""
        deliveries, liveness = self.deliveries.store, self.agents.liveness
        return await why_run(self.ledger, deliveries, liveness, self.broker(), run)

    async def why_job(self, name: str, *, at: datetime | None = None) -> Why:
        """Say whether this job is on, and what became of its slot at this instant, or of its last one."""
        return await why_job(self.ledger, name, at=at)

    async def why_channel(self, ref: ChannelRef) -> Why:
        """Say whether this channel is visited, what became of its last visits, and when the next comes."""
        board, rules = await self.controls.switches.read(), await self.heartbeats.rule_book.read()
        return await why_channel(self.ledger, self.channels.store, board, rules, ref)
