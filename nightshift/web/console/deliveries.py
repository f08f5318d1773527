"""The page *Deliveries*: what was or was not said, with buttons for what only somebody who looks can know."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from nightshift.access.tokens import Scope, Token
from nightshift.base.errors import BadQuery
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.by_hand import DeliveryVerdict, resolve, verdicts
from nightshift.deliveries.delivery import DeliveryState
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.store.pages import Place
from nightshift.web.api.deliveries import visible
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

ON_A_PAGE = 50


@ui.page("/deliveries")
async def deliveries(request: Request, state: str = "", channel: str = "", after: str = "") -> None:
    here = ConsolePage(request, "Deliveries")
    given = {"state": state, "channel": channel}

    def link(name: str, value: str) -> str:
        """Where this list is, with this filter changed."""
        others = {each: kept for each, kept in (given | {name: value}).items() if kept}
        return f"/deliveries?{urlencode(others)}"

    async def decide(verdict: DeliveryVerdict, token: Token, id: str) -> str:
        here.require(token)
        await visible(here.web, token, id)
        decided = await resolve(here.web.here.deliveries.store, id, verdict, by=token.name)
        return f"It is {decided.state}: {decided.reason}."

    with here.body:
        filters = page("delivery_filters.html", states=list(DeliveryState), link=link, **given)
        ui.html(filters, sanitize=False)
    here.live(
        ("deliveries", state, channel, after),
        partial(draw, here.web, here.token, state, channel, after),
        {verdict: partial(decide, verdict) for verdict in DeliveryVerdict},
    )


async def draw(web: Web, token: Token, state: str, channel: str, after: str) -> str:
    query = urlencode({name: value for name, value in (("state", state), ("channel", channel)) if value})
    shown = partial(page, "deliveries.html", query=query, after=after)
    try:
        wanted = _wanted(state, channel, token)
        place = Place.parse(after) if after else None
        found = await read_deliveries(web.here.deliveries.store, wanted, limit=ON_A_PAGE, after=place)
    except BadQuery as error:
        return shown(page=None, problem=str(error))
    return shown(page=found, problem="", verdicts=verdicts, may_operate=token.may(Scope.OPERATE))


def _wanted(state: str, channel: str, token: Token) -> WantedDeliveries:
    if state and state not in set(DeliveryState):
        raise BadQuery(f"{state!r} is no state of a delivery; there are {', '.join(DeliveryState)}")
    return WantedDeliveries(
        states=(DeliveryState(state),) if state else tuple(DeliveryState),
        channel=ChannelRef.parse(channel) if channel else None,
        tenant=token.tenant,
    )
