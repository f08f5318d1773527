"""What every route and page of one web process shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from fastapi import Request
from redis.asyncio import Redis

from nightshift.runs.ledger import Ledger
from nightshift.switches import Switches
from nightshift.web.hub import EventHub
from nightshift.web.tokens import Tokens


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

    @classmethod
    def of(cls, request: Request) -> Self:
        web: Self = request.app.state.web
        return web
