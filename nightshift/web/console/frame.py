"""What every page of the console has: its head, its live parts, and what its buttons may do."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request
from nicegui import ui
from redis.exceptions import RedisError

from nightshift.access.tokens import Scope, Token, require
from nightshift.base.errors import NightshiftError
from nightshift.store.client import translated
from nightshift.web.console.board import Board
from nightshift.web.console.gate import ASKING, SIGN_IN, still_signed_in
from nightshift.web.console.pages import page
from nightshift.web.state import Web

#: How often a page looks whether what it shows has changed; reading is shared by all pages.
LOOK_S = 0.25
#: How often a page makes sure that its token still counts.
CHECK_S = 10.0
#: A press on a button that says what it does, wherever it is in what was rendered.
PRESSED = """(event) => {
  const button = event.target.closest("[data-act]");
  if (button) emit({ act: button.dataset.act, name: button.dataset.name });
}"""

#: A form is emptied once it is sent; what could not be done is put back into it.
SENT = """(event) => {
  event.preventDefault();
  emit(Object.fromEntries(new FormData(event.target)));
  event.target.reset();
}"""

Action = Callable[[Token, str], Awaitable[str]]
#: What a form asks for, by the names of its fields.
Submission = Callable[[Token, Mapping[str, str]], Awaitable[str]]


@dataclass(frozen=True)
class Console:
    """What all pages of a process share."""

    board: Board
    flower_url: str | None


class ConsolePage:
    """One page in one browser."""

    def __init__(self, request: Request, title: str) -> None:
        # Pages are mounted in the application whose state this is.
        self._request = request
        self.web: Web = request.app.state.web
        self.console: Console = request.app.state.console
        self.token: Token = request.scope[ASKING]
        ui.page_title(f"{title} · nightshift")
        self._head(request.url.path)
        self._show_banner()
        self.body = ui.element("main").classes("body").props('id="main"')
        ui.timer(CHECK_S, self._leave_if_signed_out)

    @property
    def may_operate(self) -> bool:
        return self.token.may(Scope.OPERATE)

    @property
    def may_administer(self) -> bool:
        return self.token.may(Scope.ADMIN)

    @property
    def sees_everything(self) -> bool:
        """Whether the token is for the whole deployment, and not for one tenant."""
        return self.token.tenant is None

    def live(
        self, key: Hashable, read: Callable[[], Awaitable[str]], actions: Mapping[str, Action] | None = None
    ) -> ui.html:
        """Show this part and keep it true; what its buttons do is named by ``data-act``."""
        with self.body:
            shown = self._live(key, read)
        if actions:
            shown.on("click", lambda event: self._act(actions, event.args), js_handler=PRESSED)
        return shown

    def form(self, html: str, submit: Submission) -> None:
        """Show a form that stays as it is while the live parts change, and do what it asks for."""
        with self.body:
            shown = ui.html(html, sanitize=False)

        async def sent(filled: Mapping[str, Any]) -> None:
            asked = {str(name): str(value) for name, value in filled.items()}
            if not await self._do(lambda token: submit(token, asked)):
                ui.run_javascript(f"putBack({json.dumps(shown.html_id)}, {json.dumps(asked)})")

        shown.on("submit", lambda event: sent(event.args), js_handler=SENT)

    def _live(self, key: Hashable, read: Callable[[], Awaitable[str]]) -> ui.html:
        shown = ui.html(sanitize=False)  # the templates escape
        # Whoever sees the same and may do the same is shown the same.
        shared = key, self.token.tenant, self.token.scopes

        async def look() -> None:
            html = await self.console.board.show(shared, read)
            if html != shown.content:
                shown.content = html

        ui.timer(LOOK_S, look)
        return shown

    async def _act(self, actions: Mapping[str, Action], wanted: Mapping[str, Any]) -> None:
        await self._do(lambda token: actions[str(wanted["act"])](token, str(wanted["name"])))

    async def _do(self, wanted: Callable[[Token], Awaitable[str]]) -> bool:
        """Do what is asked for, if whoever asks may, and say what came of it; the browser decides nothing."""
        try:
            token = await still_signed_in(self._request)
            if token is None:
                ui.navigate.to(SIGN_IN)
                return False
            says = await wanted(token)
        except (NightshiftError, RedisError, KeyError) as error:
            known = translated(error) if isinstance(error, RedisError) else error
            ui.notify(str(known), position="top", type="negative", multi_line=True)
            return False
        self.console.board.changed()
        if says:
            ui.notify(says, position="top", multi_line=True, timeout=8000)
        return True

    def require(self, token: Token, scope: Scope = Scope.OPERATE, *, everybody: bool = False) -> None:
        require(token, scope, everybody=everybody)

    def _head(self, path: str) -> None:
        pages = {"/runs": "Runs", "/channels": "Channels", "/deliveries": "Deliveries"}
        if self.sees_everything:
            pages = {"/": "Now", **pages, "/rooms": "Rooms", "/jobs": "Jobs", "/money": "Money"}
        head = page("head.html", path=path, pages=pages, token=self.token, flower_url=self.console.flower_url)
        ui.html(head, sanitize=False)

    def _show_banner(self) -> None:
        """Say so while the store is away, for which nothing is read, and while everything is frozen."""
        shown = ui.html(sanitize=False)
        to_money = self.sees_everything and self.may_administer
        self._live("frozen", partial(draw_freezing, self.web, to_money))

        def look() -> None:
            shown.content = page("banner.html", since=self.console.board.away_since)

        ui.timer(LOOK_S, look)

    async def _leave_if_signed_out(self) -> None:
        try:
            if await still_signed_in(self._request) is None:
                ui.navigate.to(SIGN_IN)
        except RedisError:
            pass  # the banner says so


async def draw_freezing(web: Web, to_money: bool) -> str:
    return page("frozen.html", freezing=await web.here.controls.freeze.state(), to_money=to_money)
