"""What every page of the console has: its head, its live parts, and what its buttons may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from nicegui import ui
from redis.exceptions import RedisError

from nightshift.errors import NightshiftError
from nightshift.store import translated
from nightshift.web.console.board import Board
from nightshift.web.console.gate import ASKING, SIGN_IN, still_signed_in
from nightshift.web.console.pages import page
from nightshift.web.state import Web
from nightshift.web.tokens import Scope, Token, require

#: How often a page looks whether what it shows has changed; reading is shared by all pages.
LOOK_S = 0.25
#: How often a page makes sure that its token still counts.
CHECK_S = 10.0
#: A press on a button that says what it does, wherever it is in what was rendered.
PRESSED = """(event) => {
  const button = event.target.closest("[data-act]");
  if (button) emit({ act: button.dataset.act, name: button.dataset.name });
}"""

Action = Callable[[Token, str], Awaitable[str]]


@dataclass(frozen=True)
class Console:
    """What all pages of a process share."""

    board: Board
    flower_url: str | None


class Page:
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
    def sees_everything(self) -> bool:
        """Whether the token is for the whole deployment, and not for one tenant."""
        return self.token.tenant is None

    def live(
        self, key: Hashable, read: Callable[[], Awaitable[str]], actions: Mapping[str, Action] | None = None
    ) -> None:
        """Show this part and keep it true; what its buttons do is named by ``data-act``."""
        with self.body:
            shown = self._live(key, read)
        if actions:
            shown.on("click", lambda event: self._act(actions, event.args), js_handler=PRESSED)

    def _live(self, key: Hashable, read: Callable[[], Awaitable[str]]) -> ui.html:
        shown = ui.html(sanitize=False)  # the templates escape
        # Whoever sees the same and may do the same is shown the same.
        shared = key, self.token.tenant, self.may_operate

        async def look() -> None:
            html = await self.console.board.show(shared, read)
            if html != shown.content:
                shown.content = html

        ui.timer(LOOK_S, look)
        return shown

    async def _act(self, actions: Mapping[str, Action], wanted: Mapping[str, Any]) -> None:
        """Do what was pressed, if whoever pressed it may; the browser decides nothing."""
        try:
            token = await still_signed_in(self._request)
            if token is None:
                ui.navigate.to(SIGN_IN)
                return
            says = await actions[str(wanted["act"])](token, str(wanted["name"]))
            ui.notify(says, position="top", multi_line=True, timeout=8000)
        except (NightshiftError, RedisError, KeyError) as error:
            known = translated(error) if isinstance(error, RedisError) else error
            ui.notify(str(known), position="top", type="negative", multi_line=True)

    def require(self, token: Token, *, everybody: bool = False) -> None:
        require(token, Scope.OPERATE, everybody=everybody)

    def _head(self, path: str) -> None:
        pages = {"/": "Now", "/runs": "Runs", "/jobs": "Jobs"} if self.sees_everything else {"/runs": "Runs"}
        head = page("head.html", path=path, pages=pages, token=self.token, flower_url=self.console.flower_url)
        ui.html(head, sanitize=False)

    def _show_banner(self) -> None:
        """Say so while the store is away; nothing has to be read for that."""
        shown = ui.html(sanitize=False)

        def look() -> None:
            shown.content = page("banner.html", since=self.console.board.away_since)

        ui.timer(LOOK_S, look)

    async def _leave_if_signed_out(self) -> None:
        try:
            if await still_signed_in(self._request) is None:
                ui.navigate.to(SIGN_IN)
        except RedisError:
            pass  # the banner says so
