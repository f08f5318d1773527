"""What happens, as it happens: server-sent events, resumable where a listener left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import lru_cache
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Query, Request
from redis.exceptions import RedisError
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from nightshift.access.tokens import Token
from nightshift.base.errors import TransientError
from nightshift.store.events import Event
from nightshift.web.guard import REFUSALS, Reader
from nightshift.web.hub import Frame, parse_position
from nightshift.web.state import Web

log = structlog.get_logger("nightshift.web")

router = APIRouter(prefix="/events", tags=["events"], responses=REFUSALS)

#: Listeners that one process serves at once.
MOST_LISTENERS = 1_000
#: A listener that takes nothing for so long is cut off, and may come back.
SEND_TIMEOUT_S = 30
PING_S = 15
#: A listener whose token is revoked hears no more after this.
LOOK_AGAIN_S = 5


class TooManyListeners(TransientError):
    """This process serves as many listeners as it can."""


@router.get(
    "",
    summary="Follow what happens",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "frames without end"}},
)
async def follow(
    request: Request,
    token: Reader,
    after: Annotated[str | None, Query(max_length=40, description="an event's id; else from now on")] = None,
    last_event_id: Annotated[str | None, Header(max_length=40, description="the same, from browsers")] = None,
) -> EventSourceResponse:
    """
    Frames of four kinds, at most four a second.

    `events` holds a list of events, oldest first; its id is where to resume. `gap` says that events between
    two ids were dropped before they could be sent. `away` and `back` tell of a store that does not answer.
    """
    web = Web.of(request)
    if web.hub.listeners >= MOST_LISTENERS:
        raise TooManyListeners(
            f"{MOST_LISTENERS} listeners are served already; come back later, or add a web"
        )
    start = last_event_id or after
    frames = _frames(web, token, parse_position(start) if start else None)
    return Stream(frames, ping=PING_S, send_timeout=SEND_TIMEOUT_S)


class Stream(EventSourceResponse):
    """A stream whose listener may be cut off, which is no error of ours."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            log.info("listener_cut_off", after_s=SEND_TIMEOUT_S)


async def _frames(web: Web, token: Token, after: str | None) -> AsyncIterator[bytes]:
    def sees(event: Event) -> bool:
        return token.sees(event.facts.get("tenant"))

    clock = asyncio.get_running_loop().time
    look_again = clock() + LOOK_AGAIN_S
    async with aclosing(web.hub.listen(after=after, sees=sees)) as frames:
        async for frame in frames:
            if frame.id and clock() >= look_again:
                with suppress(RedisError):  # a store that is away has nothing new to give away either
                    if not await web.here.access.tokens.holds(token):
                        return
                look_again = clock() + LOOK_AGAIN_S
            yield _encoded(frame)


@lru_cache(maxsize=8)
def _encoded(frame: Frame) -> bytes:
    """The frame as it is sent: once for all who are sent it."""
    return ServerSentEvent(frame.data, event=frame.kind, id=frame.id).encode()
