"""The page of money, in a real browser: what was spent, what may be, and the brake."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from nightshift.access.tokens import Role
from nightshift.controls.freeze import Freeze
from nightshift.money.caps import Caps
from nightshift.money.payer import Level, Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
MODEL = "flash"


def caps_of(console: Console) -> Caps:
    return Caps(console.deployment.client, Keys(), BudgetSettings())


async def spend(console: Console, cost: int, *, back: int = 0, reserve: int = 0) -> None:
    redis = console.deployment.client
    at = await store_now(redis) - timedelta(days=back)
    purse = Purse(redis, Keys(), caps_of(console), clock=lambda: at)
    payer = Payer("run", "job:digest", agent=HOSTILE, channel="local:a%2F%7B", kind=Occasion.PERSON)
    hold = await purse.reserve(payer, model=MODEL, ceiling=cost)
    await purse.settle(hold, cost=cost, tokens_in=1, tokens_out=1)
    if reserve:
        await purse.reserve(payer, model=MODEL, ceiling=reserve)


async def test_what_is_spent_reserved_and_capped_is_shown_and_by_whom(console: Console) -> None:
    await spend(console, 700_000, back=3)
    await spend(console, 250_000, reserve=50_000)
    page = await console.visit("/money", Role.VIEWER, viewport=PHONE)
    await expect(page.get_by_role("heading", name="$0.25 today")).to_be_visible()
    await expect(page.get_by_text("25 % of the day's cap of $1.")).to_be_visible()
    gauge = page.get_by_role("img", name="$0.25 spent, $0.05 reserved")
    assert await gauge.locator(".fill").get_attribute("style") == "width: 25.0%"
    assert await gauge.locator(".held").get_attribute("style") == "left: 25.0%; width: 5.0%"
    for level, name in (("agent", HOSTILE), ("job", "digest"), ("channel", "local a/{"), ("model", MODEL)):
        panel = page.locator(".panel", has=page.get_by_role("heading", name=f"Today by {level}"))
        await expect(panel.get_by_role("listitem")).to_contain_text(name)
        await expect(panel.get_by_role("listitem")).to_contain_text("$0.25 + $0.05 reserved")
    days = page.get_by_role("img", name="$0.95 in 30 days; the dearest was")
    assert [await days.locator("rect:not(.whole)").nth(n).get_attribute("height") for n in (25, 26, 29)] == [
        "0.0",
        "100.0",
        "35.71",
    ]
    await spend(console, 600_000)
    await expect(page.get_by_text("85 % of the day's cap of $1.")).to_be_visible(timeout=10_000)
    await expect(gauge.or_(page.locator(".gauge")).locator(".near")).to_have_count(1)
    assert await page.title() == "Money · nightshift"
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await page.get_by_role("button", name="Freeze").count() == 0


async def test_an_admin_changes_caps_by_form_and_lets_the_settings_apply_again(console: Console) -> None:
    page = await console.visit("/money", Role.ADMIN)
    await page.get_by_label("USD").fill("much")
    await page.get_by_label("USD").press("Enter")
    await expect(page.get_by_text("'much' is no sum in dollars")).to_be_visible()
    await expect(page.get_by_label("USD")).to_have_value("much")
    await page.get_by_label("Level").select_option("channel")
    await page.get_by_label("Name").fill("local:a%2F%7B")
    await page.get_by_label("USD").fill("0.30")
    await page.get_by_role("button", name="Change").click()
    row = page.locator(".caps li", has_text="channel local:a%2F%7B")
    await expect(row).to_contain_text("$0.3 a day")
    cap = (await caps_of(console).read())[Level.CHANNEL, "local:a%2F%7B"]
    assert (cap.micro_usd, cap.live) == (300_000, True)
    await row.get_by_role("button", name="As the settings say").click()
    await expect(row).to_have_count(0)
    assert list(await caps_of(console).read()) == [(Level.DAY, "")]


async def test_a_freeze_is_told_on_every_page_and_only_an_admin_makes_or_ends_it(console: Console) -> None:
    freeze = Freeze(console.deployment.client, Keys())
    page, elsewhere = await console.visit("/money", Role.ADMIN), await console.visit("/runs", Role.VIEWER)
    await page.get_by_label("Why").fill(HOSTILE)
    await page.get_by_role("button", name="Freeze").click()
    banner = elsewhere.get_by_role("alert").filter(has_text="Everything is frozen")
    await expect(banner).to_contain_text("admin-")
    await expect(banner).to_contain_text(HOSTILE)
    await expect(page.get_by_role("button", name="Freeze")).to_be_hidden()
    frozen = await freeze.state()
    assert frozen
    assert frozen.reason == HOSTILE

    operator = await console.visit("/money")
    await operator.locator(".hero").evaluate(
        "it => it.insertAdjacentHTML('beforeend', '<button data-act=thaw data-name>x</button>')"
    )
    await operator.get_by_role("button", name="x", exact=True).click()
    await expect(operator.get_by_text("this needs admin")).to_be_visible()
    assert await freeze.state()

    await page.get_by_role("button", name="Thaw").click()
    await expect(banner).to_have_count(0)
    await expect(page.get_by_role("button", name="Freeze")).to_be_visible()
    assert await freeze.state() is None
