"""What every route and page of one web process shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from fastapi import Request
from redis.asyncio import Redis

from nightshift.access.tokens import Tokens
from nightshift.agents.liveness import AgentLiveness
from nightshift.controls.freeze import Freeze
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.intake.observing import Observer
from nightshift.runs.ledger import Ledger
from nightshift.web.hub import EventHub
from nightshift.web.waiting import WaitingRoom
from nightshift.work.pull import PullWork


@dataclass(frozen=True)
class Web:
    """The deployment, as the web reaches it."""

    ledger: Ledger
    switches: Switches
    broker: Redis
    tokens: Tokens
    hub: EventHub
    #: The hub's work; done only if it failed.
    following: asyncio.Task[None]
    #: Of bots: who waits here, what there is to do, what they tell, and whether they are there.
    waiting: WaitingRoom
    work: PullWork
    observer: Observer
    liveness: AgentLiveness
    deliveries: Deliveries
    freeze: Freeze

    @classmethod
    def of(cls, request: Request) -> Self:
        web: Self = request.app.state.web
        return web
