"""The console's door says where the token is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift import bootstrap
from nightshift.machine.credentials import WEB, make_once
from nightshift.web.console.gate import show_sign_in
from tests.nightshift.web.conftest import Settle


async def shown() -> str:
    return bytes((await show_sign_in()).body).decode()


async def test_the_door_names_the_file_of_the_home_that_is_used(
    settle: Settle, redis_socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(redis_socket)
    home = bootstrap.settings().home
    assert "secrets/web" not in await shown(), "nobody has made one"
    made = make_once(home, WEB, lambda: "x" * 32)
    assert f"<code>{home.name}/secrets/web</code>" in await shown()
    assert str(made.path) not in await shown(), "whoever has not signed in learns nothing of the machine"

    monkeypatch.setenv("NIGHTSHIFT_WEB_TOKEN", "y" * 32)
    bootstrap.settings.cache_clear()
    assert "secrets/web" not in await shown()
