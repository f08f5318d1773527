"""The freeze: stopping every call and send, and letting them go on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from nightshift.controls.freeze import describe_thaw
from nightshift.web.api.views import Done, FreezingView
from nightshift.web.guard import BODY_REFUSALS, REFUSALS, KeeperAdmin
from nightshift.web.state import Web

router = APIRouter(tags=["money"], responses=REFUSALS)


class FreezeReason(BaseModel):
    """Why everything shall stand still."""

    reason: str = Field("", max_length=500)


@router.post("/freeze", summary="Stop every call and send, everywhere, within 5 s", responses=BODY_REFUSALS)
async def freeze(request: Request, token: KeeperAdmin, why: FreezeReason) -> FreezingView:
    freezing = await Web.of(request).here.controls.freeze.freeze(token.name, why.reason)
    return FreezingView.model_validate(freezing)


@router.post("/thaw", summary="Let calls and sends be made again; what waited comes back one by one")
async def thaw(request: Request, token: KeeperAdmin) -> Done:
    return Done(says=describe_thaw(await Web.of(request).here.controls.freeze.thaw(token.name)))
