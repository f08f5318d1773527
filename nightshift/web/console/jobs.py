"""The page *Jobs*: each on or off and why, with buttons to run, pause and resume it."""

from __future__ import annotations

from functools import partial

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nightshift.access.tokens import Token
from nightshift.jobs.by_hand import pause_job, resume_job, run_job
from nightshift.jobs.view import read_jobs
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

ON_A_PAGE = 50


@ui.page("/jobs")
async def jobs(request: Request, after: str = "") -> RedirectResponse | None:
    here = ConsolePage(request, "Jobs")
    if not here.sees_everything:
        return RedirectResponse("/runs")
    web = here.web

    async def run(token: Token, name: str) -> str:
        here.require(token, everybody=True)
        made, _ = await run_job(web.here.runs.ledger, name, by=token.name)
        return f"Recorded as {made}."

    async def pause(token: Token, name: str) -> str:
        here.require(token, everybody=True)
        await pause_job(web.here.runs.ledger, web.here.controls.switches, name, by=token.name)
        return f"{name} is paused; beat heeds it within seconds."

    async def resume(token: Token, name: str) -> str:
        here.require(token, everybody=True)
        await resume_job(web.here.runs.ledger, web.here.controls.switches, name, by=token.name)
        return f"{name} is no longer paused; beat heeds it within seconds."

    async def why(token: Token, name: str) -> str:
        return " ".join((await web.here.status.why_job(name)).says)

    here.live(
        ("jobs", after),
        partial(draw, web, here.may_operate, after),
        {"run": run, "pause": pause, "resume": resume, "why": why},
    )
    return None


async def draw(web: Web, may_operate: bool, after: str) -> str:
    found = await read_jobs(web.here.runs.ledger, after=after, limit=ON_A_PAGE + 1)
    more = found[ON_A_PAGE - 1].name if len(found) > ON_A_PAGE else None
    return page("jobs.html", jobs=found[:ON_A_PAGE], next=more, after=after, may_operate=may_operate)
