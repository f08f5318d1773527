"""Whether bots are there; an agent whose bot is not is left in peace."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from nightshift.agents.liveness import GONE_AFTER, Presence
from nightshift.base.errors import BadQuery
from nightshift.base.refs import UserRef, is_id
from nightshift.web.api.observe import PlatformName, Words
from nightshift.web.api.views import Instant
from nightshift.web.guard import BODY_REFUSALS, AgentsBot
from nightshift.web.state import Web

router = APIRouter(prefix="/alive", tags=["bots"], responses=BODY_REFUSALS)


ProcessName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class SignOfLife(BaseModel):
    """One process of a bot that is connected to a platform."""

    model_config = ConfigDict(extra="forbid")

    platform: PlatformName
    process: ProcessName = Field("one", description="tells apart the processes of one bot")
    user_id: Annotated[str, Field(max_length=255)] = Field(
        "", description="the bot's own, as its messages bear it"
    )
    connected_since: Instant
    channels: Annotated[list[Words], Field(max_length=10_000)] = Field(
        [], description="those that this process serves; all of the platform if none is named"
    )


class Heard(BaseModel):
    """How long the sign of life holds."""

    again_within_s: float


@router.post("", summary="Say that the bot is connected, every 30 s")
async def alive(request: Request, bot: AgentsBot, sign: SignOfLife) -> Heard:
    web = Web.of(request)
    if sign.user_id:
        if not is_id(sign.user_id):
            raise BadQuery("user_id holds what cannot be seen; give the bot's own id as its messages bear it")
        user = UserRef(sign.platform, sign.user_id)
        await web.here.memory.messages.learn_own_user(user, agent=bot.agent.name, tenant=bot.agent.tenant)
    await web.here.agents.liveness.report(
        bot.agent,
        Presence(
            sign.platform,
            sign.process,
            sign.user_id,
            sign.connected_since,
            frozenset(sign.channels),
        ),
    )
    return Heard(again_within_s=GONE_AFTER.total_seconds())
