"""Who asks: the bearer of a token, checked before anything else is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from nightshift.access.tokens import Scope, Token, require
from nightshift.agents.agent import Agent
from nightshift.base.errors import Forbidden, StoreUnreachable
from nightshift.web.problems import Unauthorized, may_answer
from nightshift.web.state import Web

BEARER = HTTPBearer(auto_error=False, description="A token made by `nightshift tokens create`.")

#: The client's own retries add up to far more if a store takes connections and never answers.
PATIENCE_S = 5
#: What every guarded route may answer instead of what was asked for.
REFUSALS = may_answer(
    {
        401: "no token, or one that is not known",
        403: "the token does not let its bearer do this",
        422: "the request is malformed",
        503: "the state store does not answer",
        507: "the state store is full",
    }
)
#: And what a route may that reads a body.
BODY_REFUSALS = REFUSALS | may_answer(
    {400: "the body is not JSON in UTF-8", 413: "the body is larger than 2 MB"}
)


async def bearer(
    request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Token:
    if shown is None:
        raise Unauthorized("show a token, as `Authorization: Bearer …`; `nightshift tokens create` makes one")
    try:
        async with asyncio.timeout(PATIENCE_S):
            token = await Web.of(request).here.access.tokens.find(shown.credentials)
    except TimeoutError as error:
        raise StoreUnreachable(f"the state store does not answer: not within {PATIENCE_S} s") from error
    if token is None:
        raise Unauthorized("the token is not known, has expired or was revoked")
    return token


def allowed(scope: Scope, *, everybody: bool = False) -> Callable[..., Coroutine[Any, Any, Token]]:
    """Let in who may do this; ``everybody`` keeps out tokens of one tenant."""

    async def check(token: Annotated[Token, Depends(bearer)]) -> Token:
        require(token, scope, everybody=everybody)
        return token

    return check


@dataclass(frozen=True)
class CallingBot:
    """A bot that asks, and the agent that it speaks for."""

    agent: Agent
    #: As rows remember it.
    name: str


async def bot(request: Request, token: Annotated[Token, Depends(allowed(Scope.AGENT))]) -> CallingBot:
    agent = Web.of(request).here.agents.of(token.agent or "")
    if (token.agent, token.tenant) != (agent.name, agent.tenant):
        raise Forbidden(
            f"token {token.name!r} is of tenant {token.tenant!r}, and agent {agent.name!r} no longer is; "
            f"`nightshift tokens create NAME --role bot --agent {agent.name}` makes another"
        )
    return CallingBot(agent, f"bot:{token.name}")


AgentsBot = Annotated[CallingBot, Depends(bot)]
Reader = Annotated[Token, Depends(allowed(Scope.READ))]
Operator = Annotated[Token, Depends(allowed(Scope.OPERATE))]
#: Of the whole deployment rather than of one tenant.
Keeper = Annotated[Token, Depends(allowed(Scope.READ, everybody=True))]
KeeperOperator = Annotated[Token, Depends(allowed(Scope.OPERATE, everybody=True))]
KeeperAdmin = Annotated[Token, Depends(allowed(Scope.ADMIN, everybody=True))]
Scraper = Annotated[Token, Depends(allowed(Scope.METRICS, everybody=True))]
