"""The page *Channels*: where agents talk, when each is visited next, and why it last was not."""

from __future__ import annotations

from functools import partial

from fastapi import Request
from nicegui import ui

from nightshift.access.tokens import Scope, Token
from nightshift.base.errors import BadQuery, UnknownChannel
from nightshift.base.refs import ChannelRef
from nightshift.base.words import clock, span
from nightshift.channels.audience import EVERYONE, audience_of, server_audience
from nightshift.channels.channel import NEVER, Channel
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.heartbeats.row import source_of
from nightshift.status.channel import ChannelView
from nightshift.store.pages import Place
from nightshift.web.api.channels import visible
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

ON_A_PAGE = 50
DELIVERIES = 5
#: What people may choose, as buttons say it.
AUDIENCES = {"channel": "Nobody else", "server": "Its server", "everyone": "Every channel"}
QUIET = {"": "As its agent's", NEVER: "Never"}


@ui.page("/channels")
async def channels(request: Request, after: str = "") -> None:
    here = ConsolePage(request, "Channels")
    here.live(("channels", after), partial(draw_channels, here.web, here.token, after))


async def draw_channels(web: Web, token: Token, after: str) -> str:
    shown = partial(page, "channels.html", after=after)
    try:
        place = Place.parse(after) if after else None
        found = await web.here.channels.store.page(limit=ON_A_PAGE, after=place, tenant=token.tenant)
    except BadQuery as error:
        return shown(page=None, problem=str(error))
    return shown(page=found, problem="", heard_by=heard_by)


@ui.page("/channels/{ref:path}")
async def channel(request: Request, ref: str) -> None:
    here = ConsolePage(request, ref)
    web = here.web

    async def changeable(token: Token) -> ChannelRef:
        here.require(token)
        return (await visible(web, token, ref)).ref

    async def pause(token: Token, _: str) -> str:
        await web.here.channels.store.pause(await changeable(token), by=token.name)
        return "Paused; messages are remembered all the same."

    async def resume(token: Token, _: str) -> str:
        await web.here.channels.store.resume(await changeable(token), by=token.name)
        return "No longer paused."

    async def audience(token: Token, choice: str) -> str:
        changed = await web.here.channels.store.set(await changeable(token), by=token.name, audience=choice)
        return f"What is said there may come to be known by: {heard_by(changed)}."

    async def quiet(token: Token, hours: str) -> str:
        changed = await web.here.channels.store.set(await changeable(token), by=token.name, quiet_hours=hours)
        return f"Quiet hours: {QUIET[changed.quiet_hours]}."

    here.live(
        ("channel", ref),
        partial(draw_channel, web, here.token, ref),
        {"pause": pause, "resume": resume, "audience": audience, "quiet": quiet},
    )


async def draw_channel(web: Web, token: Token, ref: str) -> str:
    try:
        known = await visible(web, token, ref)
    except (UnknownChannel, BadQuery):
        return page("channel.html", view=None, id=ref)
    view = await web.here.status.channel(known.ref)
    deliveries = await read_deliveries(
        web.here.deliveries.store, WantedDeliveries(channel=known.ref, tenant=token.tenant), limit=DELIVERIES
    )
    return page(
        "channel.html",
        view=view,
        id=ref,
        facts=_facts(view),
        source=source_of(known.ref),
        deliveries=deliveries.rows,
        audiences=AUDIENCES,
        quiet=QUIET,
        may_operate=token.may(Scope.OPERATE),
    )


def heard_by(channel: Channel) -> str:
    """Who may come to know what is said there, as people say it."""
    names = {EVERYONE: AUDIENCES["everyone"], server_audience(channel): AUDIENCES["server"]}
    return names.get(audience_of(channel), AUDIENCES["channel"]).lower()


def _facts(view: ChannelView) -> dict[str, str]:
    channel = view.channel
    return {
        "Platform": channel.ref.platform,
        "Id": channel.ref.id,
        "Server": channel.server_name or channel.server_id,
        "Kind": "a conversation between two" if channel.is_dm else "",
        "Members": "" if channel.members is None else str(channel.members),
        "Messages": str(view.messages),
        "Last message": clock(channel.last_message_at) if channel.last_message_at else "",
        "Last person": clock(channel.last_human_at) if channel.last_human_at else "",
        "Heard by": heard_by(channel),
        "Quiet hours": QUIET.get(channel.quiet_hours, channel.quiet_hours),
        "Visited every": span(view.visit.interval) if view.visit else "",
        "Agent": channel.agent,
        "Tenant": channel.tenant,
    }
