"""What every route and page of one web process shares."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from fastapi import Request

from nightshift.deployment import Deployment
from nightshift.web.hub import EventHub
from nightshift.web.waiting import WaitingRoom


@dataclass(frozen=True)
class Web:
    """The deployment, as quickly as the web promises to answer, and who listens and waits here."""

    here: Deployment
    hub: EventHub
    #: The hub's work; done only if it failed.
    following: asyncio.Task[None]
    #: Bots that wait for work.
    waiting: WaitingRoom

    @classmethod
    def of(cls, request: Request) -> Self:
        web: Self = request.app.state.web
        return web
