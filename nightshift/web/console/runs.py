"""The pages *Runs*, with filters and pages by index, and one run's whole story."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from nicegui import ui

from nightshift.access.tokens import Scope, Token
from nightshift.base.errors import BadQuery, UnknownRun
from nightshift.base.words import clock, money, span
from nightshift.jobs.row import source_of
from nightshift.runs.by_hand import requeue_run
from nightshift.runs.row import RunRow
from nightshift.runs.search import RunPlace, WantedRuns, last_change, read_runs
from nightshift.runs.states import State
from nightshift.store.client import store_now
from nightshift.web.api.runs import visible
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

ON_A_PAGE = 50
#: How far back to look, by the name that people choose it by.
WITHIN = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}


@ui.page("/runs")
async def runs(
    request: Request, state: str = "", source: str = "", within: str = "", after: str = ""
) -> None:
    here = ConsolePage(request, "Runs")
    given = {"state": state, "source": source, "within": within}
    chosen = {name: value for name, value in given.items() if value}

    def link(name: str, value: str) -> str:
        """Where this list is, with this filter changed."""
        others = {each: kept for each, kept in (given | {name: value}).items() if kept}
        return f"/runs?{urlencode(others)}"

    with here.body:
        filters = page("filters.html", states=list(State), spans=list(WITHIN), link=link, **given)
        ui.html(filters, sanitize=False)
    here.live(("runs", *given.values(), after), partial(draw_runs, here.web, here.token, chosen, after))


async def draw_runs(web: Web, token: Token, chosen: dict[str, str], after: str) -> str:
    shown = partial(page, "runs.html", query=urlencode(chosen), after=after, changed=last_change)
    try:
        wanted = _wanted(chosen, token, await store_now(web.here.runs.ledger.redis))
        found = await read_runs(
            web.here.runs.ledger,
            wanted,
            limit=ON_A_PAGE,
            after=RunPlace.parse(after) if after else None,
        )
    except BadQuery as error:
        return shown(page=None, problem=str(error))
    return shown(page=found, problem="")


def _wanted(chosen: dict[str, str], token: Token, now: datetime) -> WantedRuns:
    state, source, within = chosen.get("state"), chosen.get("source"), chosen.get("within")
    if state and state not in set(State):
        raise BadQuery(f"{state!r} is no state of a run; there are {', '.join(State)}")
    if within and within not in WITHIN:
        raise BadQuery(f"{within!r} is no span of time; there are {', '.join(WITHIN)}")
    return WantedRuns(
        states=(State(state),) if state else tuple(State),
        sources=(source, source_of(source)) if source else None,
        since=now - WITHIN[within] if within else None,
        tenant=token.tenant,
    )


@ui.page("/runs/{run:path}")
async def run(request: Request, run: str) -> None:
    here = ConsolePage(request, run)

    async def cancel(token: Token, name: str) -> str:
        here.require(token)
        await visible(here.web, token, name)
        answer = await here.web.here.runs.ledger.cancel(name, reason=f"cancelled by {token.name}")
        return "Cancelled." if answer == "settled" else "Asked; its worker stops it within seconds."

    async def requeue(token: Token, name: str) -> str:
        here.require(token)
        await visible(here.web, token, name)
        await requeue_run(here.web.here.runs.ledger, name, by=token.name)
        return "It waits again."

    here.live(
        ("run", run), partial(draw_run, here.web, here.token, run), {"cancel": cancel, "requeue": requeue}
    )


async def draw_run(web: Web, token: Token, run: str) -> str:
    try:
        row = await visible(web, token, run)
        why = await web.here.status.why_run(run)
    except UnknownRun:
        return page("run.html", row=None, id=run)
    may_operate = token.may(Scope.OPERATE)
    return page(
        "run.html", row=row, id=run, why=why, facts=_facts(row), pretty=_pretty, may_operate=may_operate
    )


def _facts(row: RunRow) -> dict[str, str]:
    return {
        "For": clock(row.nominal),
        "Queue": row.queue,
        "Task": row.task,
        "Worker": row.worker,
        "Took": span(row.ended - row.started) if row.ended and row.started and row.worker else "",
        "Cost": money(row.cost) if row.cost else "",
        "Attempts": f"{row.attempts} spent, {row.retries} retries",
        "Deadline": span(row.deadline),
        "Lane": row.lane,
        "Agent": row.agent,
        "Tenant": row.tenant,
        "Celery's task id": row.message,
    }


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
