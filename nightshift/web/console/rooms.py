"""The page *Rooms*: rooms of our own, where people talk with the agents of this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nightshift.access.tokens import Token
from nightshift.base.errors import BadQuery
from nightshift.intake.rooms import LONGEST
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

#: Messages shown of a room, and how much of each.
SHOWN, LONGEST_SHOWN = 100, 8_000


@ui.page("/rooms")
async def rooms(request: Request, room: str = "") -> RedirectResponse | None:
    here = ConsolePage(request, "Rooms")
    if not here.sees_everything:
        return RedirectResponse("/runs")
    if room:
        return RedirectResponse(f"/rooms/{quote(room, safe='')}")
    with here.body:
        ui.html(page("rooms_head.html"), sanitize=False)
    here.live("rooms", partial(draw_rooms, here.web))
    return None


async def draw_rooms(web: Web) -> str:
    here = web.here.intake.rooms
    names = [each.id for each in await here.platform.servers_and_channels()]
    known = {
        row.ref.id: row for row in await web.here.channels.store.rows([here.ref(name) for name in names])
    }
    return page("rooms.html", rooms=names, known=known)


@ui.page("/rooms/{room:path}")
async def room(request: Request, room: str) -> RedirectResponse | None:
    here = ConsolePage(request, room)
    if not here.sees_everything:
        return RedirectResponse("/runs")
    web = here.web
    try:
        ref = web.here.intake.rooms.ref(room)
    except BadQuery as error:
        with here.body:
            ui.html(page("room_head.html", room=room, ref=None, problem=str(error)), sanitize=False)
        return None

    async def say(token: Token, filled: Mapping[str, str]) -> str:
        here.require(token, everybody=True)
        outcome = await web.here.intake.rooms.say(room, token.name, filled.get("text", ""))
        return "" if outcome == "new" else f"Said, but not remembered: {outcome}."

    with here.body:
        ui.html(page("room_head.html", room=room, ref=ref, problem=""), sanitize=False)
    said = here.live(("room", room), partial(draw_room, web, room))
    said.classes("panel said-here").props('role="log" tabindex="0" aria-label="What was said"')
    if here.may_operate:
        here.form(page("say.html", speaker=here.token.name, longest=LONGEST), say)
    return None


async def draw_room(web: Web, room: str) -> str:
    here = web.here.intake.rooms
    channel = await web.here.channels.store.find(here.ref(room))
    return page(
        "room.html",
        said=await here.platform.history(room, limit=SHOWN),
        agent=channel.agent if channel else "",
        longest=LONGEST_SHOWN,
    )
