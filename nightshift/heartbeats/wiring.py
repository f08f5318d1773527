"""The parts of heartbeats in one deployment."""

from __future__ import annotations

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


class HeartbeatParts:
    """When channels are looked into, what keeps them from it, and the look itself."""

    def __init__(
        self,
        ground: Ground,
        settings: HeartbeatsSection,
        *,
        ledger: Ledger,
        agents: AgentParts,
        channels: ChannelParts,
        platforms: PlatformParts,
        controls: ControlParts,
        money: MoneyParts,
        llm: LlmParts,
        memory: MemoryParts,
        hand_on: HandOn,
    ) -> None:
        """``hand_on`` gives an agent what a look found worth saying."""
        self._ground = ground
        self._settings = settings
        self._ledger = ledger
        self._agents = agents
        self._channels = channels
        self._platforms = platforms
        self._controls = controls
        self._money = money
        self._llm = llm
        self._memory = memory
        self._hand_on = hand_on

    @cached_property
    def visits(self) -> Visits:
        return Visits(self._ground.redis, self._ground.keys, clock=self._ground.clock)

    @cached_property
    def rule_book(self) -> RuleBook:
        return RuleBook(self._ground.redis, self._ground.keys, self._settings.heartbeat)

    @cached_property
    def visiting(self) -> Visiting:
        """What carries visits out: one for a loop, so that of many at once one asks what is in the way."""
        reach = Reach(self._ledger, self._platforms.by_name, self._agents.liveness)
        freeze, purse = self._controls.freeze, self._money.purse
        outside = Surroundings(self._ledger, freeze, purse, reach, self._llm.uses)
        return Visiting(self._ledger, self.rule_book, self._agents.of, outside)

    @cached_property
    def thinking(self) -> Thinking:
        """What looks into a channel."""
        return Thinking(
            models=self._llm.models,
            messages=self._memory.messages,
            channels=self._channels.store,
            visits=self.visits,
            rules=self.rule_book,
            agent_of=self._agents.of,
            hand_on=self._hand_on,
            background=Background(self._memory.summaries, self._memory.recall).told,
        )

    @property
    def forgetter(self) -> VisitForgetter:
        return VisitForgetter(self.visits)
