"""Channels: listing them, what is known of one, pausing it, who may come to know what is said there."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from nightshift.access.tokens import Token
from nightshift.base.errors import UnknownChannel
from nightshift.base.refs import ChannelRef
from nightshift.channels.audience import audience_of
from nightshift.channels.by_hand import change_channel
from nightshift.channels.channel import Channel
from nightshift.status.channel import ChannelView
from nightshift.store.pages import Place
from nightshift.web.api.views import Done, View
from nightshift.web.guard import BODY_REFUSALS, REFUSALS, Operator, Reader
from nightshift.web.problems import may_answer
from nightshift.web.state import Web

router = APIRouter(prefix="/channels", tags=["channels"], responses=REFUSALS)
NOT_THERE = may_answer({404: "no channel is called this, or it is another tenant's"})
#: Ids hold whatever a platform lets them, slashes too.
RefPath = Annotated[str, Path(max_length=4_000, description="`channel` as listed, quoted for a URL")]


class ChannelRow(View):
    """A channel as it stands in a list."""

    channel: str = Field(description="its name wherever one is needed: PLATFORM:ID, the id quoted")
    platform: str
    id: str
    name: str
    server_id: str
    server_name: str
    is_dm: bool
    members: int | None
    tenant: str
    agent: str
    audience: str = Field(description="who may come to know what is said there")
    paused_by: str
    quiet_hours: str = Field(description="empty: as its agent's")
    last_message_at: datetime | None
    last_human_at: datetime | None

    @classmethod
    def of(cls, channel: Channel, **more: object) -> Self:
        names = {"platform": channel.ref.platform, "id": channel.ref.id, "channel": str(channel.ref)}
        facts = {name: getattr(channel, name) for name in cls.model_fields if hasattr(channel, name)}
        return cls.model_validate(facts | names | {"audience": audience_of(channel)} | more)


class SkipView(View):
    """A visit that was not, and why."""

    at: datetime
    reason: str
    times: int
    detail: str


class ChannelStory(ChannelRow):
    """A channel, and what happens there."""

    messages: int = Field(description="how many are remembered")
    next_beat: datetime | None
    suspended_at: datetime | None = Field(description="since when it waits for a person to speak")
    skips: list[SkipView]

    @classmethod
    def of_view(cls, view: ChannelView) -> Self:
        return cls.of(
            view.channel,
            messages=view.messages,
            next_beat=view.visit and view.visit.next_at,
            suspended_at=view.visit and view.visit.suspended_at,
            skips=[SkipView.model_validate(skip) for skip in view.skips],
        )


class ChannelPage(View):
    """Some channels, and where the next page begins."""

    channels: list[ChannelRow]
    next: str | None = Field(description="give it as `after` for the next page; null if this is the last")


class ChannelSettings(BaseModel):
    """What to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    audience: Literal["channel", "server", "everyone"] | None = Field(
        None, description="who else may come to know what is said there"
    )
    quiet_hours: Annotated[str, Field(max_length=20)] | None = Field(
        None, description="HH:MM-HH:MM in the agent's zone, `never`, or empty for the agent's own"
    )
    agent: Annotated[str, Field(max_length=200)] | None = Field(None, description="whose it is")


@router.get("", summary="List channels, the most recently used first")
async def list_channels(
    request: Request,
    token: Reader,
    after: Annotated[str | None, Query(max_length=4_000, description="the `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ChannelPage:
    place = Place.parse(after) if after is not None else None
    page = await Web.of(request).here.channels.store.page(limit=limit, after=place, tenant=token.tenant)
    rows = [ChannelRow.of(channel) for channel in page.rows]
    return ChannelPage(channels=rows, next=str(page.next) if page.next else None)


@router.get("/{ref:path}", summary="Show one channel, and why its last visits were not", responses=NOT_THERE)
async def show_channel(request: Request, token: Reader, ref: RefPath) -> ChannelStory:
    channel = await visible(Web.of(request), token, ref)
    return ChannelStory.of_view(await Web.of(request).here.status.channel(channel.ref))


@router.post("/{ref:path}/pause", summary="Let no heartbeat come until it is resumed", responses=NOT_THERE)
async def pause(request: Request, token: Operator, ref: RefPath) -> Done:
    channel = await visible(Web.of(request), token, ref)
    await Web.of(request).here.channels.store.pause(channel.ref, by=token.name)
    return Done(says=f"{channel.ref} is paused; messages are remembered all the same")


@router.post("/{ref:path}/resume", summary="Let heartbeats come again", responses=NOT_THERE)
async def resume(request: Request, token: Operator, ref: RefPath) -> Done:
    channel = await visible(Web.of(request), token, ref)
    await Web.of(request).here.channels.store.resume(channel.ref, by=token.name)
    return Done(says=f"{channel.ref} is no longer paused")


@router.patch(
    "/{ref:path}",
    summary="Set its audience, its quiet hours or its agent",
    responses=BODY_REFUSALS | NOT_THERE,
)
async def change(request: Request, token: Operator, ref: RefPath, settings: ChannelSettings) -> ChannelRow:
    channel = await visible(Web.of(request), token, ref)
    here = Web.of(request).here
    changed = await change_channel(
        here.channels.store,
        here.agents.of,
        channel.ref,
        by=token.name,
        audience=settings.audience,
        quiet_hours=settings.quiet_hours,
        agent=settings.agent,
    )
    return ChannelRow.of(changed)


async def visible(web: Web, token: Token, ref: str) -> Channel:
    """The channel, if there is one that the bearer may see."""
    channel = await web.here.channels.store.find(ChannelRef.parse(ref))
    if channel is None or not token.sees(channel.tenant):
        raise UnknownChannel(f"no channel is called {ref!r}; GET /v1/channels lists those that are known")
    return channel
