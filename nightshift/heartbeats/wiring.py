"""The parts of heartbeats in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.agents.wiring import AgentParts
from nightshift.channels.wiring import ChannelParts
from nightshift.controls.wiring import ControlParts
from nightshift.heartbeats.background import Background
from nightshift.heartbeats.forgetting import VisitForgetter
from nightshift.heartbeats.outside import Reach, Surroundings
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.settings import HeartbeatsSection
from nightshift.heartbeats.thinking import HandOn, Thinking
from nightshift.heartbeats.visiting import Visiting
from nightshift.heartbeats.visits import Visits
from nightshift.llm.wiring import LlmParts
from nightshift.memory.wiring import MemoryParts
from nightshift.money.wiring import MoneyParts
from nightshift.platforms.wiring import PlatformParts
from nightshift.runs.ledger import Ledger
from nightshift.store.ground import Ground


@dataclass(eq=False)
class HeartbeatParts:
    """When channels are looked into, what keeps them from it, and the look itself."""

    ground: Ground
    settings: HeartbeatsSection
    ledger: Ledger
    agents: AgentParts
    channels: ChannelParts
    platforms: PlatformParts
    controls: ControlParts
    money: MoneyParts
    llm: LlmParts
    memory: MemoryParts
    #: Gives an agent what a look found worth saying.
    hand_on: HandOn

    @cached_property
    def visits(self) -> Visits:
        return Visits(self.ground.redis, self.ground.keys, clock=self.ground.clock)

    @cached_property
    def rule_book(self) -> RuleBook:
        return RuleBook(self.ground.redis, self.ground.keys, self.settings.heartbeat)

    @cached_property
    def visiting(self) -> Visiting:
        """What carries visits out: one for a loop, so that of many at once one asks what is in the way."""
        reach = Reach(self.ledger, self.platforms.by_name, self.agents.liveness)
        freeze, purse = self.controls.freeze, self.money.purse
        outside = Surroundings(self.ledger, freeze, purse, reach, self.llm.uses)
        return Visiting(self.ledger, self.rule_book, self.agents.of, outside)

    @cached_property
    def thinking(self) -> Thinking:
        """What looks into a channel."""
        return Thinking(
            models=self.llm.models,
            messages=self.memory.messages,
            channels=self.channels.store,
            visits=self.visits,
            rules=self.rule_book,
            agent_of=self.agents.of,
            hand_on=self.hand_on,
            background=Background(self.memory.summaries, self.memory.recall).told,
        )

    @property
    def forgetter(self) -> VisitForgetter:
        return VisitForgetter(self.visits)
