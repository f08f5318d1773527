"""Schedules: what comes due, and when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from nightshift.schedules.listing import read_schedules
from nightshift.store.pages import Place
from nightshift.web.api.views import SchedulePage, ScheduleRow
from nightshift.web.guard import REFUSALS, Reader
from nightshift.web.state import Web

router = APIRouter(prefix="/schedules", tags=["schedules"], responses=REFUSALS)


@router.get("", summary="List schedules, those due soonest first")
async def list_schedules(
    request: Request,
    token: Reader,
    after: Annotated[str | None, Query(max_length=600, description="the `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> SchedulePage:
    page = await read_schedules(
        Web.of(request).here.runs.ledger,
        limit=limit,
        after=Place.parse(after) if after else None,
        tenant=token.tenant,
    )
    rows = [ScheduleRow.model_validate(view) for view in page.rows]
    return SchedulePage(schedules=rows, next=str(page.next) if page.next else None)
