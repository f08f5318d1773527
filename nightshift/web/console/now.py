"""The page *Now*: what runs and what is next, on a line of time, and who is there: processes and bots."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nightshift.processes.signs_of_life import Process, describe
from nightshift.runs.search import WantedRuns, read_runs
from nightshift.runs.states import ENDED, OPEN, State
from nightshift.status.upcoming import read_upcoming
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.console.timeline import REACH, lay_out
from nightshift.web.console.titles import name_sources
from nightshift.web.state import Web

#: Runs and coming slots that the line holds.
MOST_RUNS, MOST_COMING = 400, 60
#: Comes every few seconds and leaves no run.
PULSE = "job:pulse"


@ui.page("/")
async def now(request: Request, reach: str = "hour") -> RedirectResponse | None:
    here = ConsolePage(request, "Now")
    if not here.sees_everything:
        return RedirectResponse("/runs")
    reach = reach if reach in REACH else "hour"
    here.live(("now", reach), lambda: draw(here.web, reach))
    return None


async def draw(web: Web, reach: str) -> str:
    ledger = web.here.runs.ledger
    overview = await web.here.status.overview()
    since = overview.at - REACH[reach][0]
    open_runs = (await read_runs(ledger, WantedRuns(states=OPEN), limit=MOST_RUNS)).rows
    ended = (await read_runs(ledger, WantedRuns(states=ENDED, since=since), limit=MOST_RUNS)).rows
    coming = await read_upcoming(ledger, after=overview.at, limit=MOST_COMING)
    upcoming = [each for each in coming if each.source != PULSE]
    over = {row.id for row in ended}
    open_runs = [row for row in open_runs if row.id not in over]
    latest = ended or (await read_runs(ledger, WantedRuns(states=ENDED), limit=7)).rows
    sources = [*(row.source for row in (*open_runs, *latest)), *(each.source for each in upcoming)]
    return page(
        "now.html",
        called=await name_sources(web.here.channels.store, sources),
        overview=overview,
        running=[row for row in open_runs if row.state is State.RUNNING][:10],
        doing=_doing(overview.open),
        ended=latest,
        upcoming=upcoming,
        timeline=lay_out([*open_runs, *ended], upcoming, now=overview.at, reach=REACH[reach]),
        reach_name=reach,
        reaches=list(REACH),
        facts=describe,
        how=_how,
    )


def _how(process: Process) -> str:
    """How a process is, in one word."""
    if not process.alive:
        return "gone"
    return "alive" if process.facts.get("ready", True) else "unready"


def _doing(open_runs: Mapping[str, int]) -> str:
    running, waiting = open_runs[State.RUNNING], open_runs[State.WAITING]
    if running:
        return "1 run is being carried out." if running == 1 else f"{running} runs are being carried out."
    if waiting:
        return "1 run waits." if waiting == 1 else f"{waiting} runs wait."
    return "Nothing to do right now."
