"""How soon a page shows, and how soon what happens shows on it: ``python -m bench.console [--rounds 3]``."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from playwright.async_api import BrowserContext, Page, async_playwright

from bench.events import SECRET, web
from bench.rounds import Figures, options, report
from bench.scene import Scene, quantile, scene
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, RunRow, run_id
from nightshift.runs.states import done

PAGES, RUNS, PAUSE = 20, 60, 0.5
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
#: Notes in the page itself when each run is first seen as done, so that asking does not add to it.
WATCH = """() => {
  window.seen = {};
  const look = () => document.querySelectorAll(".row").forEach((row) => {
    const link = row.querySelector("a[id^='run-']");
    if (link && row.querySelector(".state.done")) window.seen[link.id.slice(4)] ??= Date.now();
  });
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""


async def look_at_many_pages() -> Figures:
    """A web process, and twenty pages of runs in one browser; runs that settle meanwhile."""
    async with scene() as here, web(here) as (process, url), AsyncExitStack() as stack:
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context()
        first = await context.new_page()
        await first.goto(url + "/sign-in")
        await first.fill("#token", SECRET)
        await first.press("#token", "Enter")
        await first.wait_for_selector(".hero h1")
        useful = [await _first_useful_paint(context, url) for _ in range(5)]
        pages = [first, *[await context.new_page() for _ in range(PAGES - 1)]]
        for page in pages:
            await page.goto(url + "/runs")
            await page.wait_for_selector(".table")
            await page.evaluate(WATCH)
        before, began = sum(process.cpu_times()[:2]), time.perf_counter()
        settled = await _settle_some(here)
        cpu = 100 * (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)
        await asyncio.sleep(2)
        latencies = [latency for page in pages for latency in await _latencies(page, settled)]
        before, began = sum(process.cpu_times()[:2]), time.perf_counter()
        await asyncio.sleep(10)
        idle = 100 * (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)
        await browser.close()
    return {
        "useful_paint_ms": statistics.median(useful),
        "shown_p50_ms": quantile(latencies, 0.5),
        "shown_p95_ms": quantile(latencies, 0.95),
        "web_cpu_percent": cpu,
        "web_cpu_percent_idle": idle,
    }


async def _first_useful_paint(context: BrowserContext, url: str) -> float:
    """From asking for *Now* until it says how things stand."""
    page = await context.new_page()
    began = time.perf_counter()
    await page.goto(url, wait_until="commit")
    await page.wait_for_selector(".hero h1")
    took = (time.perf_counter() - began) * 1000
    await page.close()
    return took


async def _settle_some(here: Scene) -> dict[str, float]:
    """Settle two runs a second; return when each was, by this machine's clock."""
    settled: dict[str, float] = {}
    async with here.client() as client:
        ledger = Ledger(client, here.ledger().keys)
        for number in range(RUNS):
            now = datetime.now(UTC)
            request = RunRequest(run_id(f"bench-{number}", now), f"bench-{number}", now, "tasks.none", "io")
            await ledger.record(request)
            claimed = await ledger.claim(request.id, worker="bench", message="m")
            assert isinstance(claimed, RunRow)
            await ledger.settle(request.id, claimed.token, done())
            settled[request.id] = time.time() * 1000
            await asyncio.sleep(PAUSE)
    return settled


async def _latencies(page: Page, settled: dict[str, float]) -> list[float]:
    seen = await page.evaluate("window.seen")
    missing = settled.keys() - seen.keys()
    assert len(missing) <= max(0, RUNS - 50), f"never shown: {missing}"  # a page holds fifty
    return [seen[run] - at for run, at in settled.items() if run in seen]


def main() -> None:
    report(options("bench.console").parse_args(), {"console": look_at_many_pages})


if __name__ == "__main__":
    main()
