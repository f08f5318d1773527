"""The rooms of our own, in a real browser: people write there, agents answer, and both are remembered."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.async_api import expect

from nightshift.access.tokens import Role
from nightshift.base.refs import ChannelRef
from nightshift.intake.rooms import LONGEST
from nightshift.memory.message import Origin
from nightshift.memory.messages import Messages
from nightshift.platforms.local import LocalPlatform
from nightshift.platforms.platform import Outgoing
from nightshift.store.keys import Keys
from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
ROOM = "a/{b}*:%41?"


def local(console: Console) -> LocalPlatform:
    return LocalPlatform("local", console.deployment.client, Keys())


async def test_what_somebody_writes_is_shown_said_and_remembered_and_the_agents_answer_is_the_agents(
    console: Console,
) -> None:
    page = await console.visit("/rooms", viewport=PHONE)
    await page.get_by_label("Name of a room").fill(ROOM)
    await page.get_by_role("button", name="Open").click()
    await expect(page).to_have_url(f"{console.url}/rooms/{quote(ROOM, safe='')}")
    await expect(page.get_by_text("Nobody has said anything here yet.")).to_be_visible()
    box = page.get_by_label("Say something")
    await box.press_sequentially("first line")
    await box.press("Shift+Enter")
    await box.press_sequentially(HOSTILE)
    await box.press("Enter")
    mine = page.locator(".talk .persons", has_text="first line")
    await expect(mine.locator(".words")).to_have_text(f"first line\n{HOSTILE}")
    await expect(box).to_have_value("")

    who = str(await page.locator(".who b").text_content())
    messages = Messages(console.deployment.client, Keys())
    [remembered] = await messages.last(ChannelRef("local", ROOM), 10)
    assert (remembered.user_id, remembered.origin) == (who, Origin.HUMAN)
    assert remembered.text == f"first line\n{HOSTILE}"
    assert (await messages.channels.get(ChannelRef("local", ROOM))).last_human_at == remembered.at

    await local(console).send(Outgoing(ROOM, HOSTILE, "an answer"))
    answer = page.locator(".talk .agents", has_text=HOSTILE)
    await expect(answer).to_contain_text("agent", timeout=10_000)  # nothing tells of it: it is looked for
    await page.get_by_label("Say something").fill("and by button")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".talk li")).to_have_count(3)
    assert await page.title() == f"{ROOM} · nightshift"
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    await page.get_by_role("link", name="as a channel").click()
    await expect(page).to_have_url(f"{console.url}/channels/{quote(str(ChannelRef('local', ROOM)), safe='')}")


async def test_what_is_too_long_is_refused_and_stays_in_the_box(console: Console) -> None:
    page = await console.visit("/rooms/short")
    box = page.get_by_label("Say something")
    await box.evaluate("it => it.removeAttribute('maxlength')")
    words = "x" * (LONGEST + 1)
    await box.fill(words)
    await box.press("Enter")
    await expect(page.get_by_text(f"say {LONGEST} at most at once")).to_be_visible()
    await expect(box).to_have_value(words)
    assert await local(console).history("short", limit=10) == []


async def test_a_viewer_reads_and_a_tenants_token_sees_no_rooms(console: Console) -> None:
    await local(console).say("lobby", "ann", "good evening")
    viewer = await console.visit("/rooms", Role.VIEWER)
    await viewer.get_by_role("link", name="lobby").click()
    await expect(viewer.get_by_text("good evening")).to_be_visible()
    assert await viewer.locator("form.say").count() == 0

    operator = await console.visit("/rooms/lobby")
    who = str(await operator.locator(".who b").text_content())
    # Then the page has also looked whether its token counts, and only looks again after some time.
    await expect(operator.get_by_text("good evening")).to_be_visible()
    await console.tokens.revoke(who)
    await operator.get_by_label("Say something").fill("still here?")
    await operator.get_by_role("button", name="Send").click()
    await expect(operator.get_by_label("Access token")).to_be_visible()
    assert "still here?" not in [each.text for each in await local(console).history("lobby", limit=10)]

    for path in ("/rooms", "/rooms/lobby", "/money"):
        tenant = await console.visit(path, tenant="a")
        await expect(tenant).to_have_url(console.url + "/runs")
    assert await tenant.get_by_role("link", name="Rooms").count() == 0
