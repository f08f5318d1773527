"""What may be spent on models, and what is: ``budget``, and changing its caps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import money
from nightshift.cli.answers import Json, ask, show_facts, show_json, show_table, who
from nightshift.money.payer import Level

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.money.budget import Account, Budget
    from nightshift.money.caps import Cap

budget = typer.Typer(invoke_without_command=True)

LevelName = Annotated[
    Level, typer.Argument(metavar="LEVEL", help=f"What is capped: {', '.join(Level)}. A run is in all.")
]


@budget.callback()
def show(context: typer.Context, json: Json = False) -> None:
    """Show what was spent today (UTC), by whom, what is reserved, and what the day will have cost."""
    if context.invoked_subcommand:
        return
    found, caps = ask(_read)
    if json:
        show_json(vars(found) | {"caps": caps})
        return
    _show(found)
    _show_caps([cap for cap in caps if cap.level is not Level.DAY])


async def _read(here: Deployment) -> tuple[Budget, list[Cap]]:
    from nightshift.money.budget import read_budget
    from nightshift.money.caps import listed

    caps = here.money.caps
    return await read_budget(here.runs.ledger, caps), listed(await caps.read())


def _show(found: Budget) -> None:
    day, forecast = found.day, found.forecast
    show_facts(
        {
            "spent": f"{money(day.spent)} of {_cap(day)} today ({found.at:%Y-%m-%d} UTC){_part(day)}",
            "reserved": f"{money(day.reserved)} for calls under way",
            "forecast": f"{money(forecast.total)} by midnight: {money(forecast.slots)} for slots of jobs and "
            f"schedules at what their last runs cost, {money(forecast.pace)} for the rest at its pace",
        }
    )
    if found.by:
        typer.echo()
        columns = ("level", "name", "spent today", "reserved", "cap")
        show_table(
            columns,
            [
                (each.level, each.name, money(each.spent), money(each.reserved), _cap(each))
                for each in found.by
            ],
        )


def _show_caps(caps: Sequence[Cap]) -> None:
    """Those of the day are told already."""
    if not caps:
        return
    typer.echo()
    show_table(
        ("cap on", "USD", "set"),
        [(cap.whose, _usd(cap.micro_usd), "by hand" if cap.live else "by the settings") for cap in caps],
    )


def _cap(account: Account) -> str:
    return _usd(account.cap)


def _usd(cap: int | None) -> str:
    return "no cap" if cap is None else money(cap)


def _part(account: Account) -> str:
    return f", {100 * account.spent // account.cap} %" if account.cap else ""


@budget.command("set")
def set_cap(
    level: LevelName,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[NAME] USD", help="Whose cap, or each one's; dollars, or none for no cap."),
    ],
) -> None:
    """
    Change a cap while everything runs; it counts from the next call on.

    `budget set day 5` caps everything, `budget set channel 0.1` each channel, `budget set channel
    discord:42 0.5` one. Runs that waited for room come back one by one.
    """
    from nightshift.money.caps import parse_cap

    if len(words) > 2:
        raise typer.BadParameter("give a NAME, or leave it out, and then the dollars")
    name, cap = "".join(words[:-1]), parse_cap(words[-1])
    ask(lambda here: here.money.caps.set(level, name, cap, by=who()))
    whose = f"{level} {name}" if name else level if level is Level.DAY else f"each {level}"
    typer.echo(f"{whose}: {_usd(cap)}")


@budget.command("unset")
def unset_cap(
    level: LevelName,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Whose cap, or each one's.")] = "",
) -> None:
    """Let the cap that the settings give apply again."""
    ask(lambda here: here.money.caps.unset(level, name, by=who()))
    typer.echo("the settings apply again")
