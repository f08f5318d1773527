"""Runs: listing them, one's story, why it is where it is, cancelling, letting it try again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from nightshift.access.tokens import Token
from nightshift.base.errors import UnknownRun
from nightshift.jobs.row import source_of
from nightshift.runs.by_hand import requeue_run
from nightshift.runs.row import LONGEST_RUN_ID, RunRow
from nightshift.runs.search import RunPlace, WantedRuns, read_runs
from nightshift.runs.states import State
from nightshift.web.api.views import Done, Instant, Reason, RunPage, RunStory, RunView
from nightshift.web.guard import REFUSALS, Operator, Reader
from nightshift.web.problems import may_answer
from nightshift.web.state import Web

router = APIRouter(prefix="/runs", tags=["runs"], responses=REFUSALS)
NOT_THERE = may_answer({404: "no run of this id is kept, or it is another tenant's"})
NOT_POSSIBLE = may_answer({409: "the run's state does not allow it"})
#: Ids hold colons, dots and whatever a schedule is called, slashes too.
RunPath = Annotated[str, Path(max_length=LONGEST_RUN_ID, description="as listed")]


@router.get("", summary="List runs: open ones, soonest first, then ended ones, newest first")
async def list_runs(
    request: Request,
    token: Reader,
    state: Annotated[list[State] | None, Query(description="only these")] = None,
    source: Annotated[
        str | None, Query(max_length=LONGEST_RUN_ID, description="only of this job or schedule")
    ] = None,
    since: Annotated[Instant | None, Query(description="only those with a change since then")] = None,
    after: Annotated[
        str | None, Query(max_length=LONGEST_RUN_ID, description="the `next` of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RunPage:
    wanted = WantedRuns(
        states=state or tuple(State),
        sources=(source, source_of(source)) if source else None,
        since=since,
        tenant=token.tenant,
    )
    place = RunPlace.parse(after) if after is not None else None
    page = await read_runs(Web.of(request).here.runs.ledger, wanted, limit=limit, after=place)
    runs = [RunView.model_validate(row) for row in page.rows]
    return RunPage(runs=runs, next=str(page.next) if page.next else None)


@router.get("/{run:path}/why", summary="Say why a run waits, or ended as it did", responses=NOT_THERE)
async def why(request: Request, token: Reader, run: RunPath) -> Reason:
    web = Web.of(request)
    await visible(web, token, run)
    return Reason.model_validate(await web.here.status.why_run(run))


@router.get("/{run:path}", summary="Tell the story of one run", responses=NOT_THERE)
async def show_run(request: Request, token: Reader, run: RunPath) -> RunStory:
    return RunStory.of(await visible(Web.of(request), token, run))


@router.post(
    "/{run:path}/cancel",
    summary="End a waiting run, or ask the worker of a running one to stop",
    responses=NOT_THERE | NOT_POSSIBLE,
)
async def cancel(request: Request, token: Operator, run: RunPath) -> Done:
    web = Web.of(request)
    await visible(web, token, run)
    answer = await web.here.runs.ledger.cancel(run, reason=f"cancelled by {token.name}")
    says = "it is cancelled" if answer == "settled" else "it is running; its worker stops it within seconds"
    return Done(says=says, run=run)


@router.post(
    "/{run:path}/requeue",
    summary="Let an ended run wait again, with its history",
    responses=NOT_THERE | NOT_POSSIBLE,
)
async def requeue(request: Request, token: Operator, run: RunPath) -> Done:
    web = Web.of(request)
    await visible(web, token, run)
    await requeue_run(web.here.runs.ledger, run, by=token.name)
    return Done(says="it waits again", run=run)


async def visible(web: Web, token: Token, run: str) -> RunRow:
    """The run, if the bearer may know of it; somebody else's is answered like one that is not there."""
    row = await web.here.runs.ledger.find(run)
    if row is None or not token.sees(row.tenant):
        raise UnknownRun(f"no run is called {run!r}; GET /v1/runs lists those that are kept")
    return row
