"""The console as people meet it, in a real browser, on a deployment that works."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from playwright.async_api import Page, expect

from nightshift.access.tokens import Role
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import State
from tests.browser.conftest import SECRET, Console

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


async def test_somebody_with_the_token_signs_in_and_sees_how_it_stands(console: Console) -> None:
    page = await console.browser.new_page()
    await page.goto(console.url + "/jobs")
    await expect(page).to_have_url(console.url + "/sign-in?next=/jobs")

    await page.get_by_label("Access token").fill("nst_wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("No such token")
    await page.get_by_label("Access token").fill(SECRET)
    await page.keyboard.press("Enter")

    await expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    await page.get_by_role("link", name="Now").click()
    await expect(page.get_by_role("heading", name="All is well.")).to_be_visible()
    await expect(page.get_by_text("beat@")).to_be_visible()
    await expect(page.get_by_role("link", name="Flower")).to_have_attribute("href", "http://127.0.0.1:5999")
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(console.url)
    await expect(page.get_by_label("Access token")).to_be_visible()


@pytest.mark.parametrize(
    "path",
    ["/", "/runs", "/runs/any", "/jobs", "/_nicegui/x", "/_nicegui_ws/socket.io/", "/x", "/metrics-page"],
)
async def test_nothing_but_the_door_is_there_for_whoever_has_not_signed_in(
    console: Console, path: str
) -> None:
    async with httpx2.AsyncClient(base_url=console.url) as client:
        for cookie in ("", "nightshift_session=guess", "nightshift_session", "=;;,"):
            answer = await client.get(path, headers={"Cookie": cookie})
            assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in")


@pytest.mark.parametrize(
    "next", ["https://elsewhere.example", "//elsewhere.example", "/\\elsewhere", "javascript:x"]
)
async def test_signing_in_leads_nowhere_else(console: Console, next: str) -> None:
    async with httpx2.AsyncClient(base_url=console.url) as client:
        answer = await client.post("/sign-in", data={"token": SECRET, "next": next})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


async def test_a_form_of_another_site_signs_nobody_in(console: Console) -> None:
    async with httpx2.AsyncClient(base_url=console.url) as client:
        answer = await client.post(
            "/sign-in", data={"token": SECRET}, headers={"Origin": "https://elsewhere.example"}
        )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_what_happens_shows_without_a_reload(console: Console) -> None:
    now, runs = await console.visit("/"), await console.visit("/runs")
    run = await console.deployment.ask("live")
    for page in (now, runs):
        link = page.locator(f"[id='run-{run}']")
        await expect(link).to_be_visible()
    await runs.locator(f"[id='run-{run}']").click()
    await expect(runs.get_by_role("heading", name=run)).to_be_visible()
    for line in ("recorded", "claimed", "done"):
        await expect(runs.locator(".story").get_by_text(line, exact=True)).to_be_visible()


async def test_a_run_that_waits_is_cancelled_and_let_try_again_by_button(console: Console) -> None:
    run = await console.deployment.ask("unknown-yet", task="tasks.not.yet.there")
    page = await console.visit(f"/runs/{run}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_text("Cancelled.")).to_be_visible()
    await page.get_by_role("button", name="Let it try again").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    story = [line.what for line in (await console.deployment.ledger.get(run)).story]
    assert [line for line in story if line != "hinted"] == ["recorded", "skipped", "replayed"]
    await console.deployment.ledger.cancel(run)


async def test_a_job_is_paused_resumed_and_run_and_says_by_whom(console: Console) -> None:
    page = await console.visit("/jobs")
    await page.get_by_role("button", name="Pause ledger_retention").click()
    await expect(page.get_by_text("off: paused by operator-")).to_be_visible(timeout=10_000)
    await page.get_by_role("button", name="Resume ledger_retention").click()
    await expect(page.get_by_text("off: paused by operator-")).to_be_hidden(timeout=10_000)
    await page.get_by_role("button", name="Run ledger_retention now").click()
    said = page.get_by_text("Recorded as job:ledger_retention@manual-")
    await expect(said).to_be_visible()
    words = await said.text_content()
    assert words
    run = words.removeprefix("Recorded as ").rstrip(".")
    row = await console.deployment.until_state(run, State.DONE)
    assert row.story[0].detail.startswith("by hand, operator-")


async def test_a_viewer_has_no_buttons_and_pressing_forged_ones_does_nothing(console: Console) -> None:
    page = await console.visit("/jobs", Role.VIEWER)
    await expect(page.get_by_role("button", name="Why ledger_retention")).to_be_visible()
    assert await page.get_by_role("button", name="Pause").count() == 0
    await page.evaluate("document.querySelector('[data-act=why]').dataset.act = 'pause'")
    await page.locator("[data-act=pause]").click()
    await expect(page.get_by_text("this needs operate")).to_be_visible()


async def test_a_page_ends_with_its_token(console: Console) -> None:
    page = await console.visit("/jobs")
    who = await page.locator(".who b").text_content()
    assert who
    pause = page.get_by_role("button", name="Pause ledger_retention")
    # Then the page has also looked whether its token counts, and only looks again after some time.
    await expect(pause).to_be_visible()
    await console.tokens.revoke(who)
    await pause.click()
    await expect(page.get_by_label("Access token")).to_be_visible()


async def test_runs_are_turned_page_by_page_and_filtered(console: Console) -> None:
    deployment = console.deployment
    runs = {await deployment.ask(f"paged-{n % 2}") for n in range(70)}
    of_one = sum(run.startswith("paged-1@") for run in runs)
    for run in runs:
        await deployment.until_state(run, State.DONE)
    page = await console.visit("/runs?state=done&source=paged-1")
    await expect(page.locator(".row")).to_have_count(of_one)
    await page.get_by_role("link", name="hour").click()
    await expect(page).to_have_url(console.url + "/runs?state=done&source=paged-1&within=hour")
    await expect(page.locator(".row")).to_have_count(of_one)
    await page.get_by_role("link", name="any time").click()
    await expect(page).to_have_url(console.url + "/runs?state=done&source=paged-1")
    await page.goto(console.url + "/runs?state=done")
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("link", name="Newest")).to_be_visible()
    await page.goto(console.url + "/runs?state=nope")
    await expect(page.get_by_role("alert")).to_contain_text("'nope' is no state of a run")
    await page.goto(console.url + "/runs?after=nope")
    await expect(page.get_by_role("alert")).to_contain_text("no place in this list")
    await page.goto(console.url + "/runs/no:such:run")
    await expect(page.get_by_role("heading", name="No such run.")).to_be_visible()


async def test_text_from_elsewhere_is_shown_and_never_obeyed(console: Console) -> None:
    nominal = datetime.now(UTC)
    request = RunRequest(
        run_id(HOSTILE, nominal), HOSTILE, nominal, "tasks.not.yet.there", "io", payload={"said": HOSTILE}
    )
    await console.deployment.ledger.record(request)
    await console.deployment.ledger.cancel(request.id, reason=HOSTILE)
    page = await console.visit("/")
    await expect(page.get_by_text("<img src=x").first).to_be_visible()
    await page.goto(console.url + "/runs")
    await page.get_by_role("link", name="<img src=x").first.click()
    await expect(page.locator("pre").first).to_contain_text("<script>")
    assert await page.locator("img[src=x]").count() == 0
    assert await page.title() == f"{request.id} · nightshift"


async def test_a_page_says_that_the_store_is_away_and_goes_on_when_it_is_back(console: Console) -> None:
    page = await console.visit("/runs")
    await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    console.deployment.kill("redis")
    await expect(page.get_by_text("The state store does not answer")).to_be_visible(timeout=15_000)
    other = await (await console.browser.new_context()).new_page()
    await other.goto(console.url + "/sign-in")
    await other.get_by_label("Access token").fill(SECRET)
    await other.keyboard.press("Enter")
    await expect(other.get_by_role("alert")).to_contain_text("state store does not answer", timeout=30_000)
    await console.deployment.start_redis()
    await expect(page.get_by_text("The state store does not answer")).to_be_hidden(timeout=15_000)
    run = await console.deployment.ask("after-the-restart")
    await expect(page.locator(f"[id='run-{run}']")).to_be_visible(timeout=15_000)


async def test_a_tenants_token_shows_its_own_runs_and_nothing_else(console: Console) -> None:
    ours = await console.deployment.ask("ours", tenant="a", task="tasks.not.yet.there")
    theirs = await console.deployment.ask("theirs", tenant="b", task="tasks.not.yet.there")
    page = await console.visit("/", tenant="a")
    await expect(page).to_have_url(console.url + "/runs")
    await expect(page.locator(f"[id='run-{ours}']")).to_be_visible()
    assert await page.locator(f"[id='run-{theirs}']").count() == 0
    assert await page.get_by_role("link", name="Jobs").count() == 0
    await page.goto(console.url + "/jobs")
    await expect(page).to_have_url(console.url + "/runs")
    await page.goto(f"{console.url}/runs/{theirs}")
    await expect(page.get_by_role("heading", name="No such run.")).to_be_visible()
    for run in (ours, theirs):
        await console.deployment.ledger.cancel(run)


async def test_it_is_used_by_keyboard_alone(console: Console) -> None:
    page = await console.visit("/")
    await expect(page.get_by_role("heading", name="All is well.")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to what matters")).to_be_focused()
    await page.keyboard.press("r")
    await expect(page).to_have_url(console.url + "/runs")
    search = page.get_by_role("searchbox")
    await expect(search).to_be_visible()
    await page.keyboard.press("/")
    await expect(search).to_be_focused()
    await search.press_sequentially("jn")  # letters in a field are letters
    await expect(search).to_have_value("jn")
    await page.goto(console.url + "/jobs")
    why = page.get_by_role("button", name="Why pulse")
    await why.focus()
    before = await _rendered(page)
    await console.deployment.client.hset("ns:{s0}:jobs", "pulse", await _renamed_cadence(console))
    await page.wait_for_function(
        "(before) => document.querySelector('.table')?.innerHTML !== before", arg=before
    )
    await expect(page.get_by_role("button", name="Why pulse")).to_be_focused()  # although it was replaced


async def _rendered(page: Page) -> str:
    return await page.locator(".table").inner_html()


async def _renamed_cadence(console: Console) -> str:
    stored = await console.deployment.client.hget("ns:{s0}:jobs", "pulse")
    return str(stored).replace("every second", "each second")


async def test_it_fits_a_phone_and_the_night(console: Console) -> None:
    run = await console.deployment.ask("a-name-" + "that-is-long-" * 12)
    await console.deployment.until_state(run, State.DONE)
    page = await console.visit("/", viewport=PHONE, color_scheme="light")
    for path in ("/", "/runs", "/jobs", f"/runs/{run}"):
        await page.goto(console.url + path)
        await expect(page.locator("#main .row, #main .panel").first).to_be_visible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path
    day = await _background(page)
    await page.get_by_role("button", name="Light or dark").click()
    night = await _background(page)
    assert day != night
    await page.reload()
    assert await _background(page) == night  # remembered


async def _background(page: Page) -> str:
    found: str = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return found


async def test_a_page_asks_nobody_but_the_console_for_anything(console: Console) -> None:
    page = await console.browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    await page.goto(console.url)
    await page.get_by_label("Access token").fill(SECRET)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="All is well.")).to_be_visible()
    others = [
        url for url in asked if not url.startswith((console.url, "data:", console.url.replace("http", "ws")))
    ]
    assert others == []
    assert errors == []
