"""The console's door says where the token is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import Request

from nightshift.deployment import Deployment, process_settings
from nightshift.machine.credentials import WEB, make_once
from nightshift.settings import load_settings
from nightshift.web.console.gate import show_sign_in
from tests.nightshift.web.conftest import Settle


async def shown() -> str:
    async with Deployment(load_settings()) as here:
        app = SimpleNamespace(state=SimpleNamespace(web=SimpleNamespace(here=here)))
        return bytes((await show_sign_in(Request({"type": "http", "app": app}))).body).decode()


async def test_the_door_names_the_file_of_the_home_that_is_used(
    settle: Settle, redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(redis_socket)
    home = process_settings().home
    assert "secrets/web" not in await shown(), "nobody has made one"
    made = make_once(home, WEB, lambda: "x" * 32)
    assert f"<code>{home.name}/secrets/web</code>" in await shown()
    assert str(made.path) not in await shown(), "whoever has not signed in learns nothing of the machine"

    monkeypatch.setenv("NIGHTSHIFT_WEB_TOKEN", "y" * 32)
    assert "secrets/web" not in await shown()
