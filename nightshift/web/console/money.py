"""The page *Money*: what was spent, by whom, what may be; and the brake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from nightshift.access.tokens import Scope, Token
from nightshift.base.errors import BadSetting
from nightshift.base.refs import ChannelRef
from nightshift.base.words import money as dollars
from nightshift.controls.freeze import describe_thaw
from nightshift.money.budget import Account, Budget, read_budget
from nightshift.money.caps import listed, parse_cap
from nightshift.money.costs import Spent, read_days
from nightshift.money.payer import Level
from nightshift.web.console.frame import ConsolePage
from nightshift.web.console.pages import page
from nightshift.web.state import Web

DAYS = 30
#: Names shown of each level, those that spent most today.
TOP = 8
#: By whom, in the order shown.
LEVELS = (Level.AGENT, Level.JOB, Level.CHANNEL, Level.MODEL)
#: What the purse warns at, in percent of a cap.
WARNED = 80
LONGEST_REASON = 500


@ui.page("/money")
async def money(request: Request) -> RedirectResponse | None:
    here = ConsolePage(request, "Money")
    if not here.sees_everything:
        return RedirectResponse("/runs")
    web = here.web

    async def set_cap(token: Token, filled: Mapping[str, str]) -> str:
        here.require(token, Scope.ADMIN, everybody=True)
        level, name = _level(filled["level"]), filled["name"].strip()
        await web.here.money.caps.set(level, name, parse_cap(filled["usd"].strip()), by=token.name)
        return "It counts from the next call on."

    async def unset_cap(token: Token, at: str) -> str:
        here.require(token, Scope.ADMIN, everybody=True)
        level, _, name = at.partition(" ")
        await web.here.money.caps.unset(_level(level), name, by=token.name)
        return "The settings apply again."

    async def freeze(token: Token, filled: Mapping[str, str]) -> str:
        here.require(token, Scope.ADMIN, everybody=True)
        await web.here.controls.freeze.freeze(token.name, filled["reason"].strip()[:LONGEST_REASON])
        return "Every call and send stops within seconds."

    async def thaw(token: Token, _: str) -> str:
        here.require(token, Scope.ADMIN, everybody=True)
        return f"{describe_thaw(await web.here.controls.freeze.thaw(token.name)).capitalize()}."

    here.live("money", partial(draw, web, here.may_administer), {"unset": unset_cap, "thaw": thaw})
    if here.may_administer:
        here.form(page("set_cap.html", levels=list(Level)), set_cap)
        here.form(page("freeze.html", longest=LONGEST_REASON), freeze)
    return None


async def draw(web: Web, may_administer: bool) -> str:
    ledger, caps = web.here.runs.ledger, web.here.money.caps
    budget = await read_budget(ledger, caps, top=TOP)
    days = await read_days(ledger.redis, ledger.keys, until=budget.at.date(), days=DAYS)
    return page(
        "money.html",
        budget=budget,
        today=lay_out_day(budget),
        by={
            level: [_spender(each, budget.day) for each in budget.by if each.level is level]
            for level in LEVELS
        },
        days=lay_out_days(days),
        caps=listed(await caps.read()),
        freezing=await web.here.controls.freeze.state(),
        may_administer=may_administer,
        warned=WARNED,
    )


@dataclass(frozen=True)
class Day:
    """Today on a bar: each in percent of its length."""

    spent: float
    reserved: float
    forecast: float
    #: How much of the cap is spent; nothing without one.
    share: int | None


def lay_out_day(budget: Budget) -> Day:
    """Lay the cap over the whole bar; without one, whatever is most."""
    day, forecast = budget.day, budget.forecast.total
    whole = day.cap if day.cap is not None else max(forecast, day.spent + day.reserved)
    spent = _percent(day.spent, whole)
    reserved = min(_percent(day.reserved, whole), 100 - spent)
    return Day(spent, reserved, _percent(forecast, whole), 100 * day.spent // day.cap if day.cap else None)


@dataclass(frozen=True)
class Spender:
    """Somebody who spent today, and how much of everything that was."""

    title: str
    link: str
    account: Account
    percent: float


def _spender(account: Account, day: Account) -> Spender:
    title, link = account.name, ""
    if account.level is Level.CHANNEL:
        ref = ChannelRef.parse(account.name)
        title, link = f"{ref.platform} {ref.id}", f"/channels/{quote(account.name, safe='')}"
    return Spender(title, link, account, _percent(account.spent, day.spent))


@dataclass(frozen=True)
class DayBar:
    """One of the last days, its bar in percent of the dearest one's."""

    day: date
    spent: Spent
    percent: float


@dataclass(frozen=True)
class DayBars:
    """The last days, and what to say of them to whoever does not see them."""

    bars: Sequence[DayBar]
    says: str


def lay_out_days(days: Mapping[date, Spent]) -> DayBars:
    """Draw the days against the dearest of them."""
    dearest = max(days, key=lambda day: days[day].cost)
    bars = [DayBar(day, spent, _percent(spent.cost, days[dearest].cost)) for day, spent in days.items()]
    total = sum(spent.cost for spent in days.values())
    says = f"{dollars(total)} in {len(days)} days"
    if total:
        says += f"; the dearest was {dearest} with {dollars(days[dearest].cost)}"
    return DayBars(bars, says)


def _percent(part: int, whole: int) -> float:
    """How much of the whole, for drawing; nothing has no parts, and whatever is over it fills it."""
    return round(min(100 * part / whole, 100), 2) if whole else 100.0 * bool(part)


def _level(text: str) -> Level:
    if text not in set(Level):
        raise BadSetting(f"{text!r} is no level of a cap; there are {', '.join(Level)}")
    return Level(text)
