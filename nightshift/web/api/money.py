"""Money: how the budget stands, what was spent, changing a cap."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from nightshift.money.budget import read_budget
from nightshift.money.caps import LARGEST
from nightshift.money.costs import KEPT_DAYS, read_costs
from nightshift.money.payer import Level, Listed
from nightshift.store.client import store_now
from nightshift.web.api.views import Done, View
from nightshift.web.guard import BODY_REFUSALS, REFUSALS, Keeper, KeeperAdmin
from nightshift.web.state import Web

router = APIRouter(tags=["money"], responses=REFUSALS)

MicroUsd = Annotated[int, Field(description="micro-USD")]
LevelQuery = Annotated[Level, Query(description="what is capped")]
NameQuery = Annotated[str, Query(max_length=500, description="whose cap; empty for that of each name")]


class AccountView(View):
    """What one name of a level has spent and may spend today."""

    level: Level
    name: str
    spent: MicroUsd
    reserved: MicroUsd
    cap: MicroUsd | None


class ForecastView(View):
    """What the day will have cost at its end."""

    total: MicroUsd
    spent: MicroUsd
    slots: int = Field(description="for slots of jobs and schedules to come, at what their last runs cost")
    pace: int = Field(description="for everything else, at its pace of today and yesterday")


class BudgetView(View):
    """How everything stands today (UTC), and who spent most at each level."""

    day: AccountView
    forecast: ForecastView
    by: list[AccountView]


class NewCap(BaseModel):
    """What a cap shall be."""

    micro_usd: int | None = Field(ge=0, le=LARGEST, description="null for no cap")


class CostView(View):
    """What was spent by one name; an empty name stands for what belongs to none."""

    name: str
    cost: MicroUsd
    calls: int
    tokens_in: int
    tokens_out: int


class CostList(BaseModel):
    """What was spent, the dearest first."""

    costs: list[CostView]


@router.get("/budget", summary="Say what was spent today, by whom, and what may be")
async def show_budget(request: Request, token: Keeper) -> BudgetView:
    ledger = Web.of(request).here.runs.ledger
    return BudgetView.model_validate(await read_budget(ledger, Web.of(request).here.money.caps))


@router.put("/budget/cap", summary="Change a cap while everything runs", responses=BODY_REFUSALS)
async def set_cap(
    request: Request, token: KeeperAdmin, cap: NewCap, level: LevelQuery, name: NameQuery = ""
) -> Done:
    await Web.of(request).here.money.caps.set(level, name, cap.micro_usd, by=token.name)
    return Done(says="it counts from the next call on")


@router.delete("/budget/cap", summary="Let the cap that the settings give apply again")
async def unset_cap(request: Request, token: KeeperAdmin, level: LevelQuery, name: NameQuery = "") -> Done:
    await Web.of(request).here.money.caps.unset(level, name, by=token.name)
    return Done(says="the settings apply again")


@router.get("/costs", summary="List what models have cost, the dearest first")
async def list_costs(
    request: Request,
    token: Keeper,
    by: Listed = Listed.JOB,
    days: Annotated[int, Query(ge=1, le=KEPT_DAYS, description="up to today (UTC)")] = 30,
) -> CostList:
    ledger = Web.of(request).here.runs.ledger
    today = (await store_now(ledger.redis)).date()
    rows = await read_costs(ledger.redis, ledger.keys, by, until=today, days=days)
    return CostList(costs=[CostView.model_validate(row) for row in rows])
