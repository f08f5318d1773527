"""Forgetting a user or a channel, everywhere, and what was forgotten so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from nightshift.base.errors import BadQuery
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.web.api.views import View
from nightshift.web.guard import BODY_REFUSALS, REFUSALS, KeeperAdmin
from nightshift.web.state import Web

router = APIRouter(prefix="/forget", tags=["forget"], responses=REFUSALS)
Name = Annotated[str, Field(max_length=4_000, description="PLATFORM:ID, as in discord:1234")]


class ToForget(BaseModel):
    """What to forget: one of these."""

    model_config = ConfigDict(extra="forbid")

    user: Name | None = None
    channel: Name | None = None
    dry_run: bool = Field(True, description="only count; nothing is changed unless this is false")


class ReceiptView(View):
    """What was forgotten, when and on whose word, and how much each store had; it holds no text."""

    id: str
    what: str
    at: datetime
    by: str
    counts: Mapping[str, int]
    finished: datetime | None = Field(description="null if it was interrupted and has to be done again")


class Forgotten(BaseModel):
    """How much there is or was, by store."""

    counts: Mapping[str, int]
    receipt: ReceiptView | None = Field(description="null if nothing was changed")


@router.get("", summary="List what was forgotten so far, the latest first")
async def receipts(request: Request, token: KeeperAdmin) -> list[ReceiptView]:
    found = await Web.of(request).here.forgetting.receipts()
    return [ReceiptView.model_validate(each) for each in found]


@router.post(
    "",
    summary="Forget a user or a channel, everywhere; nothing brings it back",
    responses=BODY_REFUSALS,
)
async def forget(request: Request, token: KeeperAdmin, wanted: ToForget) -> Forgotten:
    subject = _subject(wanted)
    forgetting = Web.of(request).here.forgetting
    if wanted.dry_run:
        return Forgotten(counts=await forgetting.preview(subject), receipt=None)
    receipt = await forgetting.forget(subject, by=token.name)
    return Forgotten(counts=receipt.counts, receipt=ReceiptView.model_validate(receipt))


def _subject(wanted: ToForget) -> UserRef | ChannelRef:
    if wanted.user and not wanted.channel:
        return UserRef.parse(wanted.user)
    if wanted.channel and not wanted.user:
        return ChannelRef.parse(wanted.channel)
    raise BadQuery("name a user or a channel to forget, not both and not neither")
