"""A worker killed while a platform has the message and has not yet answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import NewDelivery
from nightshift.runs.states import State
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from tests.faults.deployment import LEASE, SETTINGS, Deployment, until


@dataclass
class Platforms:
    """A webhook's receiver and a Telegram; both take what they are sent, and answer when they are let."""

    url: str = ""
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    hooked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def hook(self, request: web.Request) -> web.Response:
        await request.read()
        self.hooked.append(request.headers["webhook-id"])
        await self.answers.wait()
        return web.Response()

    async def telegram(self, request: web.Request) -> web.Response:
        self.told.append((await request.json())["text"])
        await self.answers.wait()
        message = {"message_id": 7, "date": 1_795_262_400, "chat": {"id": 1, "type": "private"}}
        return web.json_response({"ok": True, "result": message})


@pytest.fixture
async def platforms() -> AsyncIterator[Platforms]:
    both = Platforms()
    app = web.Application()
    app.router.add_post("/hook", both.hook)
    app.router.add_post("/{rest:.*}", both.telegram)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    both.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield both
    both.answers.set()
    await runner.cleanup()


async def test_what_a_platform_took_before_the_crash_is_repeated_under_its_key_or_left_unknown(
    deployment: Deployment, platforms: Platforms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "nightshift.toml"
    settings.write_text(f"""{SETTINGS}
[platforms.hook]
kind = "webhook"
url = "{platforms.url}/hook"
token = "whsec_bmlnaHRzaGlmdC1uaWdodHNoaWZ0LW5pZ2h0c2hpZnQ="
[platforms.telegram]
kind = "telegram"
url = "{platforms.url}"
token = "1:t"
""")
    monkeypatch.setenv("NIGHTSHIFT_SETTINGS_FILE", str(settings))
    redis = deployment.client
    deliveries = Deliveries(redis, Keys(), Switches(redis, Keys(), Settings()))
    run = "crash@2026-11-20T12:00:00Z"

    await deployment.start_worker("first", "io")
    hooked = await deliveries.request(NewDelivery(run, ChannelRef("hook", "1"), "good morning"))
    told = await deliveries.request(NewDelivery(run, ChannelRef("telegram", "1"), "good morning", 1))

    async def both_have_it() -> bool:
        return len(platforms.hooked) == len(platforms.told) == 1

    await until(both_have_it, 10, "both platforms have the message")
    deployment.kill("first")
    platforms.answers.set()
    await deployment.start_worker("second", "io")
    for sent in (hooked, told):
        row = await deployment.until_state(sent.sending_run, State.DONE, seconds=LEASE.total_seconds() + 8)
        assert (row.attempts, row.worker) == (1, "second@test")

    assert (await deliveries.get(hooked.id)).state == "sent"
    assert len(platforms.hooked) == 2
    assert len(set(platforms.hooked)) == 1
    lost = await deliveries.get(told.id)
    assert (lost.state, lost.message_id) == ("unknown", "")
    assert platforms.told == ["good morning"]
