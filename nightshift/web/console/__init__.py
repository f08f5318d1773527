"""The console: pages for people, on the same application as the API."""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import nicegui
from fastapi import FastAPI
from nicegui import ui

from nightshift.settings import Settings
from nightshift.web.console.board import Board
from nightshift.web.console.frame import Console
from nightshift.web.console.gate import ConsoleGate, router

HEAD = """
<link rel="icon" href="/console-static/moon.svg">
<link rel="stylesheet" href="/console-static/console.css">
<script src="/console-static/console.js"></script>
"""


def attach_console(app: FastAPI, settings: Settings) -> None:
    """Lay the console over the application: its door, its pages, and the board that they share."""
    app.include_router(router)
    app.add_middleware(ConsoleGate, web=app)
    reach_stores = app.router.lifespan_context

    @asynccontextmanager
    async def with_board(app: FastAPI) -> AsyncIterator[None]:
        async with reach_stores(app):
            board = Board(app.state.web.hub, lambda: datetime.now(UTC))
            app.state.console = Console(board, _flower_url(settings))
            nicegui.app.state.web, nicegui.app.state.console = app.state.web, app.state.console
            following = asyncio.create_task(board.follow())
            try:
                yield
            finally:
                following.cancel()
                await asyncio.wait({following})

    app.router.lifespan_context = with_board
    for each in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        import_module(each.name)  # and with it the pages that it brings
    nicegui.app.add_static_files("/console-static", Path(__file__).parent / "static")
    ui.add_head_html(HEAD, shared=True)
    ui.run_with(app, title="nightshift", dark=None, tailwind=False, show_welcome_message=False)


def _flower_url(settings: Settings) -> str | None:
    if settings.flower_url or not settings.flower_port:
        return settings.flower_url
    return f"http://{settings.flower_host}:{settings.flower_port}"
