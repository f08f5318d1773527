"""The page of deliveries, in a real browser, on a deployment that sends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from playwright.async_api import expect

from nightshift.access.tokens import Role
from nightshift.base.refs import ChannelRef
from nightshift.base.words import stamp
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import NewDelivery
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOBBY = ChannelRef("local", "lobby")
NOWHERE = ChannelRef("nowhere", "{b}*:%")
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def deliveries_of(console: Console) -> Deliveries:
    redis = console.deployment.client
    return Deliveries(redis, Keys(), Switches(redis, Keys(), Settings()))


def new(
    text: str, channel: ChannelRef = LOBBY, *, by_bot: bool = False, tenant: str = "default"
) -> NewDelivery:
    run = f"heartbeat:{channel}@{stamp(datetime.now(UTC))}"
    return NewDelivery(run, channel, text, by="bot" if by_bot else "us", tenant=tenant, agent="night")


async def test_what_is_said_and_what_cannot_be_shows_without_a_reload(console: Console) -> None:
    page = await console.visit("/deliveries")
    await expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()
    deliveries = deliveries_of(console)
    await deliveries.request(new(f"good morning {HOSTILE}"))
    await deliveries.request(new("to nobody", NOWHERE))

    said = page.locator(".table .row", has_text="good morning")
    await expect(said.locator(".state")).to_have_text("sent")
    await expect(said).to_contain_text(HOSTILE)
    failed = page.locator(".table .row", has_text="to nobody")
    await expect(failed).to_contain_text("no platform is called 'nowhere'")
    await expect(said.get_by_role("button")).to_have_count(0)
    assert await page.title() == "Deliveries · nightshift"

    await page.get_by_role("link", name="failed").click()
    await expect(page).to_have_url(f"{console.url}/deliveries?state=failed")
    await expect(page.locator(".table .row")).to_have_count(1)
    await page.get_by_role("link", name="nowhere {b}*:%").click()
    await expect(page.locator(".table .row")).to_have_count(1)
    await expect(page.get_by_label("Channel")).to_have_value(str(NOWHERE))


async def test_what_is_unknown_is_decided_by_button_and_says_by_whom(console: Console) -> None:
    deliveries = deliveries_of(console)
    lost = [await deliveries.request(new(f"lost {n}", by_bot=True)) for n in range(2)]
    for each in lost:
        await deliveries.unknown(each.id, "the answer was lost")
    page = await console.visit("/deliveries?state=unknown")
    await page.get_by_role("button", name=f"It was sent: {lost[0].id}").click()
    await expect(page.get_by_text("It is sent: marked as sent by operator-")).to_be_visible()
    await page.get_by_role("button", name=f"Send again: {lost[1].id}").click()
    await expect(page.get_by_text("It is requested: sent again by operator-")).to_be_visible()
    for each in lost:
        await expect(page.get_by_role("button", name=each.id)).to_have_count(0)
    states = [(await deliveries.get(each.id)).state for each in lost]
    assert states == ["sent", "requested"]


async def test_a_viewer_has_no_buttons_and_a_tenant_sees_its_own(console: Console) -> None:
    deliveries = deliveries_of(console)
    theirs = await deliveries.request(new("of tenant b", by_bot=True, tenant="b"))
    ours = await deliveries.request(new("of the default tenant", by_bot=True))
    for each in (theirs, ours):
        await deliveries.unknown(each.id, "the answer was lost")
    viewer = await console.visit("/deliveries?state=unknown", Role.VIEWER)
    await expect(viewer.locator(".table .row", has_text="of tenant b")).to_be_visible()
    assert await viewer.get_by_role("button", name="It was sent").count() == 0

    tenant = await console.visit("/deliveries", tenant="b")
    await expect(tenant.locator(".table .row")).to_have_count(1)
    await tenant.evaluate(f"document.querySelector('[data-act=sent]').dataset.name = {ours.id!r}")
    await tenant.locator("[data-act=sent]").click()
    await expect(tenant.get_by_text("no delivery is called")).to_be_visible()
    assert (await deliveries.get(ours.id)).state == "unknown"


async def test_a_filter_that_means_nothing_is_told(console: Console) -> None:
    page = await console.visit("/deliveries?state=lost")
    await expect(page.get_by_role("alert")).to_contain_text("'lost' is no state of a delivery")
    await page.goto(f"{console.url}/deliveries?channel=nowhere")
    await expect(page.get_by_role("alert")).to_contain_text("'nowhere' names no channel")
