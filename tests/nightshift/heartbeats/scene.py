"""Channels that are visited, on a clock turned by hand, in surroundings made for the test."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from redis.asyncio import Redis

from nightshift import agents
from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.gates import Gate
from nightshift.heartbeats.row import VisitRow
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visiting import Visited, Visiting
from nightshift.heartbeats.visits import Visits
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import DueVisit, Ledger
from nightshift.runs.row import RunId
from nightshift.runs.states import done
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock

ROOM = ChannelRef("discord", "room:{1}*")


@dataclass
class World:
    """What stands in a visit's way, as the test says."""

    stops: dict[Gate, str] = field(default_factory=dict)
    away: dict[ChannelRef, str] = field(default_factory=dict)
    busy_with: str = ""
    broke: str = ""
    #: What the last look was known to need.
    asked_for: int = 0
    together: asyncio.Barrier | None = None

    async def stopped(self) -> Mapping[Gate, str]:
        if self.together:
            await self.together.wait()
        return self.stops

    async def unreachable(self, agent: Agent, refs: Sequence[ChannelRef]) -> Mapping[ChannelRef, str]:
        return self.away

    async def busy(self, agent: Agent, ref: ChannelRef) -> str:
        return self.busy_with

    async def over_budget(self, run: RunId, agent: Agent, ref: ChannelRef, needs: int) -> str:
        self.asked_for = needs
        return self.broke


class Scene:
    """One of everything, at one instant."""

    def __init__(self, redis: Redis, keys: Keys, now: datetime, **settings: Any) -> None:
        self.clock = Clock(now)
        self.redis, self.keys = redis, keys
        self.ledger = Ledger(redis, keys, clock=self.clock)
        self.messages = Messages(redis, keys, clock=self.clock)
        self.visits = Visits(redis, keys, clock=self.clock, lot=Random(1))
        self.heed(turn=timedelta(0))
        self.world = World()
        agents = {"default": {"quiet_from": "00:00", "quiet_until": "00:00"}}
        self.settings = Settings(**{"agents": agents, **settings})
        self._said = 0

    def heed(self, **rules: Any) -> None:
        """Have these rules apply, and the usual ones otherwise."""
        self.rules = HeartbeatRules(**rules)
        self.book = RuleBook(self.redis, self.keys, self.rules)

    @property
    def now(self) -> datetime:
        return self.clock.now

    @property
    def visiting(self) -> Visiting:
        """Each is another worker's."""
        return Visiting(self.ledger, self.book, partial(agents.of, self.settings), self.world, lot=Random(1))

    async def say(self, text: str = "hello", ref: ChannelRef = ROOM, **more: Any) -> None:
        """Have a person say something."""
        self._said += 1
        facts = {
            "user_id": "ada",
            "user_name": "Ada",
            "text": text,
            "at": self.now + timedelta(milliseconds=self._said),
            **more,
        }
        await self.messages.observe([Observed(MessageKind.NEW, ref, f"m{self._said}", **facts)])

    async def adopt(self, *refs: ChannelRef) -> None:
        await self.visits.adopt(dict.fromkeys(refs or [ROOM]), self.rules, now=self.now)

    async def row(self, ref: ChannelRef = ROOM) -> VisitRow:
        row = await self.visits.find(ref)
        assert row
        return row

    async def come(self, ref: ChannelRef = ROOM) -> DueVisit:
        """Wait until the channel's visit is due, and have it handed out."""
        while True:
            look = await self.ledger.look("pulse", visits=True)
            if found := [each for each in look.visits if each.channel == str(ref)]:
                self.clock.now = max(self.clock.now, found[0].at)
                return found[0]
            row = await self.row(ref)
            assert row.next_at
            self.clock.now = max(self.clock.now, row.next_at)

    async def visit(self, ref: ChannelRef = ROOM) -> Visited:
        """Have the channel's next visit come and be carried out."""
        (visited,) = await self.visiting.visit([await self.come(ref)], now=self.now)
        return visited

    async def looked(self, visited: Visited) -> None:
        """End the run of a visit that passed, as a look would that found nothing to say."""
        assert visited.run
        claimed = await self.ledger.claim(visited.run, worker="w", message="m")
        assert not isinstance(claimed, str)
        await self.visits.looked(visited.ref, claimed.payload["digest"], at=self.now)
        await self.ledger.settle(claimed.id, claimed.token, done())
