"""Periodic jobs: listing them, why one ran or did not, running, pausing and resuming one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from nightshift.jobs.by_hand import pause_job, resume_job, run_job
from nightshift.jobs.view import read_jobs, view_job
from nightshift.web.api.views import Done, Instant, JobPage, JobRow, Reason
from nightshift.web.guard import REFUSALS, Keeper, KeeperOperator
from nightshift.web.problems import may_answer
from nightshift.web.state import Web

router = APIRouter(
    prefix="/jobs",
    tags=["jobs"],
    responses=REFUSALS | may_answer({404: "no job has this name"}),
)
JobPath = Annotated[str, Path(max_length=200, description="as listed")]


@router.get("", summary="List the periodic jobs, by name")
async def list_jobs(
    request: Request,
    token: Keeper,
    after: Annotated[str, Query(max_length=200, description="the `next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> JobPage:
    jobs = [
        JobRow.model_validate(job)
        for job in await read_jobs(Web.of(request).here.runs.ledger, after=after, limit=limit + 1)
    ]
    return JobPage(jobs=jobs[:limit], next=jobs[limit - 1].name if len(jobs) > limit else None)


@router.get("/{name}", summary="Show one job")
async def show_job(request: Request, token: Keeper, name: JobPath) -> JobRow:
    return JobRow.model_validate(await view_job(Web.of(request).here.runs.ledger, name))


@router.get("/{name}/why", summary="Say whether a job is on, and what became of its slot")
async def why(
    request: Request,
    token: Keeper,
    name: JobPath,
    at: Annotated[Instant | None, Query(description="the slot at or before this instant")] = None,
) -> Reason:
    return Reason.model_validate(await Web.of(request).here.status.why_job(name, at=at))


@router.post(
    "/{name}/run",
    status_code=202,
    summary="Run a job now, beside its slots",
    responses=may_answer({409: "it leaves no runs, or cannot be run"}),
)
async def run(request: Request, token: KeeperOperator, name: JobPath) -> Done:
    made, job = await run_job(Web.of(request).here.runs.ledger, name, by=token.name)
    off = "" if job.on else f"; the job is off ({job.why}) and is run all the same"
    return Done(says=f"it is recorded{off}", run=made)


@router.post("/{name}/pause", summary="Keep a job from coming due until it is resumed")
async def pause(request: Request, token: KeeperOperator, name: JobPath) -> Done:
    web = Web.of(request)
    await pause_job(web.here.runs.ledger, web.here.controls.switches, name, by=token.name)
    return Done(says=f"{name} is paused; beat heeds it within seconds")


@router.post("/{name}/resume", summary="Let a paused job come due again")
async def resume(request: Request, token: KeeperOperator, name: JobPath) -> Done:
    web = Web.of(request)
    await resume_job(web.here.runs.ledger, web.here.controls.switches, name, by=token.name)
    return Done(says=f"{name} is no longer paused; beat heeds it within seconds")
