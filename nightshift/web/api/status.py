"""How the deployment stands."""

from __future__ import annotations

from fastapi import APIRouter, Request

from nightshift.web.api.views import Standing
from nightshift.web.guard import REFUSALS, Keeper
from nightshift.web.state import Web

router = APIRouter(prefix="/status", tags=["status"], responses=REFUSALS)


@router.get("", summary="Say whether the deployment is ready, and who is there")
async def status(request: Request, token: Keeper) -> Standing:
    overview = await Web.of(request).here.status.overview()
    return Standing.model_validate(overview)
