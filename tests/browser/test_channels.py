"""The pages of channels, in a real browser, on a deployment that remembers."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.async_api import expect

from nightshift.access.tokens import Role
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.row import source_of
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Missed
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOBBY = ChannelRef("local", "lobby")
STRANGE = ChannelRef("nowhere", "a/{b}*:%41?")
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


async def say(console: Console, ref: ChannelRef, *, name: str = "", tenant: str = "default") -> Messages:
    messages = Messages(console.deployment.client, Keys())
    at = await store_now(messages.redis)
    await messages.observe(
        [Observed(MessageKind.NEW, ref, f"{at}", "ann", text="hello", at=at)], tenant=tenant
    )
    await messages.channels.record_metadata(ref, name=name, server_id="7", server_name="Guild", tenant=tenant)
    return messages


async def test_a_channel_appears_as_it_is_used_and_says_why_it_was_not_visited(console: Console) -> None:
    page = await console.visit("/channels", Role.VIEWER)
    await expect(page.get_by_role("heading", name="Channels")).to_be_visible()
    messages = await say(console, STRANGE, name=HOSTILE)
    await page.get_by_role("link", name="<img src=x").click()
    await expect(page).to_have_url(f"{console.url}/channels/{quote(str(STRANGE), safe='')}")
    await expect(page.get_by_role("heading", name="<img src=x")).to_be_visible()
    now = await store_now(messages.redis)
    skip = Missed(source_of(STRANGE), 2, now, now, reason="quiet_hours")
    await console.deployment.ledger.record(missed=skip)
    await expect(page.get_by_text("quiet_hours")).to_be_visible(timeout=10_000)
    await expect(page.get_by_role("definition").get_by_text(STRANGE.id, exact=True)).to_be_visible()
    assert await page.get_by_role("button", name="Pause").count() == 0
    assert "owned" not in await page.title()
    await page.goto(f"{console.url}/channels/nowhere:else")
    await expect(page.get_by_role("heading", name="No such channel.")).to_be_visible()
    await page.goto(f"{console.url}/channels?after=nope")
    await expect(page.get_by_role("alert")).to_contain_text("no place in this list")


async def test_a_channel_is_paused_and_set_by_button(console: Console) -> None:
    messages = await say(console, LOBBY, name="Lobby")
    page = await console.visit("/channels")
    await page.get_by_role("link", name="Lobby").click()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Paused by operator-")).to_be_visible(timeout=10_000)
    assert (await messages.channels.get(LOBBY)).paused_by.startswith("operator-")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=10_000)
    await page.get_by_role("button", name="Heard by: Its server").click()
    await expect(page.get_by_text("may come to be known by: its server")).to_be_visible()
    await page.get_by_role("button", name="Quiet hours: Never").click()
    await expect(page.get_by_text("Quiet hours: Never.")).to_be_visible()
    channel = await messages.channels.get(LOBBY)
    assert (channel.audience, channel.quiet_hours) == ("server:local:7", "never")


async def test_a_tenants_token_shows_its_own_channels_and_a_forged_press_does_nothing(
    console: Console,
) -> None:
    ours, theirs = ChannelRef("local", "ours"), ChannelRef("local", "theirs")
    await say(console, ours, name="Ours", tenant="a")
    messages = await say(console, theirs, name="Theirs", tenant="b")
    page = await console.visit("/channels", tenant="a")
    await expect(page.get_by_role("link", name="Ours")).to_be_visible()
    assert await page.get_by_role("link", name="Theirs").count() == 0
    await page.goto(f"{console.url}/channels/{theirs}")
    await expect(page.get_by_role("heading", name="No such channel.")).to_be_visible()

    viewer = await console.visit(f"/channels/{ours}", Role.VIEWER, tenant="a")
    await viewer.locator(".hero").evaluate(
        "it => it.insertAdjacentHTML('beforeend', '<button data-act=pause data-name>x</button>')"
    )
    await viewer.get_by_role("button", name="x", exact=True).click()
    await expect(viewer.get_by_text("this needs operate")).to_be_visible()
    assert (await messages.channels.get(ours)).paused_by == ""
