"""What bots see on their platforms, told in batches."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nightshift.base.refs import PLATFORM, ChannelRef, is_id
from nightshift.channels.channel import SeenChannel
from nightshift.memory.message import MessageKind, Observed, Origin
from nightshift.web.api.views import Instant
from nightshift.web.guard import BODY_REFUSALS, AgentsBot
from nightshift.web.problems import may_answer
from nightshift.web.state import Web

router = APIRouter(
    prefix="/observe",
    tags=["bots"],
    responses=BODY_REFUSALS | may_answer({429: "the agent's bot tells more than it may; see Retry-After"}),
)

MOST_MESSAGES = 500


def _whole(text: object) -> object:
    """Halves of characters, which no store takes, as question marks."""
    return text.encode(errors="replace").decode() if isinstance(text, str) else text


#: Of any length, so that none costs the others of its batch: names and texts are cut, ids refused one by one.
Words = Annotated[str, BeforeValidator(_whole)]
PlatformName = Annotated[str, Field(pattern=f"^{PLATFORM.pattern}$", description="as in the settings")]


class MessageSeen(BaseModel):
    """Something that happened to one message."""

    model_config = ConfigDict(extra="forbid")

    kind: MessageKind = MessageKind.NEW
    channel: Words
    id: Words = Field(description="as the platform calls the message")
    user_id: Words = ""
    user_name: Words = ""
    text: Words = ""
    at: Instant | None = Field(None, description="when it was sent; needed unless the message is known")
    origin: Literal["human", "agent", "system"] = Field(
        "human", description="`agent` for what other bots say; the agent's own is known by its user id"
    )
    reply_to: Words = ""
    edited_at: Instant | None = None


class ChannelSeen(BaseModel):
    """What the platform tells of a channel."""

    model_config = ConfigDict(extra="forbid")

    id: Words
    name: Words = ""
    server_id: Words = ""
    server_name: Words = ""
    is_dm: bool = False
    members: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class Seen(BaseModel):
    """A batch, in the order in which things happened."""

    model_config = ConfigDict(extra="forbid")

    platform: PlatformName
    messages: Annotated[list[MessageSeen], Field(max_length=MOST_MESSAGES)] = []
    channels: Annotated[list[ChannelSeen], Field(max_length=MOST_MESSAGES)] = []


class Taken(BaseModel):
    """What became of each message, in the order in which they were told."""

    outcomes: list[str] = Field(
        description="`new`, `edited`, `deleted`, `echo` (ours), `known`, or why it was refused"
    )
    cut: int = Field(description="texts that were too long to be kept whole")


@router.post("", summary="Tell what was said, changed and taken back")
async def observe(request: Request, bot: AgentsBot, seen: Seen) -> Taken:
    """Telling the same again changes nothing: a message is known by its platform's id."""
    messages = [_observed(seen.platform, each) for each in seen.messages]
    channels = [_channel(seen.platform, each) for each in seen.channels if is_id(each.id)]
    told = await Web.of(request).here.intake.observer.observe(
        bot.agent, [each for each in messages if isinstance(each, Observed)], channels
    )
    outcomes = iter(told.outcomes)
    return Taken(
        outcomes=[next(outcomes) if isinstance(each, Observed) else each for each in messages], cut=told.cut
    )


def _observed(platform: str, seen: MessageSeen) -> Observed | str:
    """What was told in our words, or why that cannot be."""
    if not is_id(seen.channel):
        return "no channel's id"
    facts = seen.model_dump(exclude={"channel", "origin"})
    return Observed(ref=ChannelRef(platform, seen.channel), origin=Origin(seen.origin), **facts)


def _channel(platform: str, seen: ChannelSeen) -> SeenChannel:
    return SeenChannel(ChannelRef(platform, seen.id), **seen.model_dump(exclude={"id"}))
