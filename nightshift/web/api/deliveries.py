"""Deliveries: what was or was not said, resolving what nobody knows, and those that an agent's bot sends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from nightshift.access.tokens import Token
from nightshift.agents.agent import Agent
from nightshift.base.errors import BadQuery, UnknownDelivery
from nightshift.base.refs import LONGEST_ID, LONGEST_REF, ChannelRef, is_id
from nightshift.deliveries.bot import BATCH, BotPost
from nightshift.deliveries.by_hand import DeliveryVerdict, resolve
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.deliveries.echo import recording_in
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.runs.row import LONGEST_RUN_ID
from nightshift.store.pages import Place
from nightshift.web.api.alive import ProcessName
from nightshift.web.api.observe import PlatformName
from nightshift.web.api.views import Done, View
from nightshift.web.guard import BODY_REFUSALS, REFUSALS, AgentsBot, Operator, Reader
from nightshift.web.problems import may_answer
from nightshift.web.state import Web

router = APIRouter(prefix="/deliveries", tags=["deliveries"])
NOT_THERE = may_answer({404: "no delivery of this id is kept, or it is somebody else's"})
NOT_POSSIBLE = may_answer({409: "the delivery's state does not allow it"})
LONGEST_WAIT_S = 60
#: A process that has not said that it is connected is looked for again after this.
UNTIL_CONNECTED = timedelta(seconds=1)
#: How a bot says that it still works on something, at the most.
HELD = 200
#: Ids hold slashes and whatever the run that asked is called.
IdPath = Annotated[str, Path(max_length=LONGEST_RUN_ID, description="as listed")]


class DeliveryView(View):
    """A delivery as it stands."""

    id: str
    run: str = Field(description="the run that asked for it")
    channel: str = Field(description="PLATFORM:ID, with the id percent-encoded")
    text: str = Field(description="empty once it was forgotten")
    state: DeliveryState
    reason: str = Field(description="why it stands there, and what it waits for")
    message_id: str = Field(description="the platform's, once it has it")
    by: str = Field(description="who sends it: `us`, or the agent's own `bot`")
    tenant: str
    agent: str
    kind: str = Field(description="what made the agent speak")
    times: int = Field(description="how often it was sent knowingly")
    created: datetime
    changed: datetime
    sent: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        facts = {name: getattr(delivery, name) for name in cls.model_fields}
        return cls.model_validate(facts | {"channel": str(delivery.channel)})


class DeliveryPage(View):
    """Some deliveries, newest first, and where the next page begins."""

    deliveries: list[DeliveryView]
    next: str | None = Field(description="give it as `after` for the next page; null if this is the last")


class ToSend(BaseModel):
    """What a bot is to say, and for how long it is its own."""

    id: str
    platform: str
    channel_id: str
    text: str
    key: str = Field(description="the same each time that it is offered: what is sent twice is the same")
    reply_to: str
    maybe_sent: bool = Field(description="it was taken before, and nobody said what became of it")

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        return cls(
            id=delivery.id,
            platform=delivery.channel.platform,
            channel_id=delivery.channel.id,
            text=delivery.text,
            key=delivery.key,
            reply_to=delivery.reply_to,
            maybe_sent=delivery.maybe_sent,
        )


class Pulled(BaseModel):
    """What a bot is to say next, in each channel's order."""

    deliveries: list[ToSend]


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WasSent(_Told):
    """That the platform has it."""

    message_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]


class HasFailed(_Told):
    """That the platform does not have it, and will not take it."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Resolution(_Told):
    """What somebody who has looked decides."""

    verdict: DeliveryVerdict = Field(
        description="`sent`: the platform has it; `resend`: send it again, knowingly"
    )


@router.get("", summary="List deliveries, newest first", responses=REFUSALS)
async def list_deliveries(
    request: Request,
    token: Reader,
    state: Annotated[list[DeliveryState] | None, Query(description="only these")] = None,
    channel: Annotated[str | None, Query(max_length=LONGEST_REF, description="only to this one")] = None,
    after: Annotated[
        str | None, Query(max_length=LONGEST_RUN_ID, description="the `next` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> DeliveryPage:
    """By their last change; with a channel, by when they were requested."""
    wanted = WantedDeliveries(
        states=state or tuple(DeliveryState),
        channel=ChannelRef.parse(channel) if channel is not None else None,
        tenant=token.tenant,
    )
    place = Place.parse(after) if after is not None else None
    page = await read_deliveries(Web.of(request).here.deliveries.store, wanted, limit=limit, after=place)
    rows = [DeliveryView.of(delivery) for delivery in page.rows]
    return DeliveryPage(deliveries=rows, next=str(page.next) if page.next else None)


@router.get("/pull", summary="Ask for what the agent's bot is to say, and wait for it", responses=REFUSALS)
async def pull(
    request: Request,
    bot: AgentsBot,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S, description="seconds, at the most")] = 30,
    platform: Annotated[
        PlatformName | None, Query(description="only what goes to this one; of all, unless named")
    ] = None,
    process: Annotated[
        ProcessName | None,
        Query(
            description="only what this process of the bot serves of the platform, as its signs of life say; "
            "nothing without one"
        ),
    ] = None,
    holding: Annotated[
        list[str] | None, Query(max_length=HELD, description="ids from earlier that the bot still works on")
    ] = None,
    limit: Annotated[int, Query(ge=0, le=BATCH, description="0 takes nothing new")] = BATCH,
) -> Pulled:
    """Each is the bot's for 60 s, and for another 60 s each time that it is named as held."""
    web = Web.of(request)
    post = _post(web, bot.agent)
    if process and not platform:
        raise BadQuery(f"process {process!r} is one of many; name the platform that it is connected to")

    async def look() -> list[Delivery] | timedelta | None:
        channels = None
        if platform and process:
            there = await web.here.agents.liveness.find(bot.agent, platform, process)
            if there is None:
                return UNTIL_CONNECTED
            if there.channels:
                channels = [ChannelRef(platform, id) for id in there.channels if is_id(id)]
        found = await post.pull(
            platform=platform or "", channels=channels, holding=holding or (), limit=limit
        )
        return found or None

    found = await web.waiting.until_found(request, bot.agent, timedelta(seconds=wait), look)
    return Pulled(deliveries=[ToSend.of(delivery) for delivery in found or ()])


@router.post(
    "/{id:path}/sent",
    summary="Say that the platform has it",
    responses=BODY_REFUSALS | NOT_THERE | NOT_POSSIBLE,
)
async def sent(request: Request, bot: AgentsBot, id: IdPath, told: WasSent) -> Done:
    """Safe to repeat."""
    delivery = await _post(Web.of(request), bot.agent).sent(id, message_id=told.message_id)
    return Done(says=f"it is {delivery.state}", run=delivery.run)


@router.post(
    "/{id:path}/failed",
    summary="Say that the platform will not take it",
    responses=BODY_REFUSALS | NOT_THERE | NOT_POSSIBLE,
)
async def failed(request: Request, bot: AgentsBot, id: IdPath, told: HasFailed) -> Done:
    """Safe to repeat. What may work later is better kept and tried again, or left: it is offered again."""
    delivery = await _post(Web.of(request), bot.agent).failed(id, told.reason)
    return Done(says=f"it is {delivery.state}", run=delivery.run)


@router.post(
    "/{id:path}/resolve",
    summary="Decide what became of one that is unknown, or send one again",
    responses=BODY_REFUSALS | NOT_THERE | NOT_POSSIBLE,
)
async def decide(request: Request, token: Operator, id: IdPath, resolution: Resolution) -> Done:
    web = Web.of(request)
    await visible(web, token, id)
    delivery = await resolve(web.here.deliveries.store, id, resolution.verdict, by=token.name)
    return Done(says=f"it is {delivery.state}: {delivery.reason}", run=delivery.run)


@router.get("/{id:path}", summary="Show one delivery", responses=REFUSALS | NOT_THERE)
async def show(request: Request, token: Reader, id: IdPath) -> DeliveryView:
    web = Web.of(request)
    (delivery,) = await web.here.deliveries.store.explained([await visible(web, token, id)])
    return DeliveryView.of(delivery)


async def visible(web: Web, token: Token, id: str) -> Delivery:
    """The delivery, if the bearer may know of it; somebody else's is answered like one that is not there."""
    delivery = await web.here.deliveries.store.find(id)
    if delivery is None or not token.sees(delivery.tenant):
        raise UnknownDelivery(f"no delivery is called {id!r}; GET /v1/deliveries lists those that are kept")
    return delivery


def _post(web: Web, agent: Agent) -> BotPost:
    record_own = recording_in(web.here.memory.messages)
    return BotPost(web.here.deliveries.store, web.here.controls.freeze, record_own, agent.tenant, agent.name)
