"""What was spent, by whom: ``costs``."""

from __future__ import annotations

import csv as commas
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import MILLION, money
from nightshift.cli.answers import WRONG_USE, Json, ask, note, show_json, show_table
from nightshift.money.payer import Listed

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.money.costs import CostRow

COLUMNS = ("cost_usd", "calls", "tokens_in", "tokens_out")


def costs(
    by: Annotated[
        Listed, typer.Option(metavar="WHAT", help=f"Whose costs are added up: {', '.join(Listed)}.")
    ] = Listed.JOB,
    days: Annotated[
        int,
        typer.Option(min=1, max=400, metavar="N", help="Days up to today (UTC); thirteen months are kept."),
    ] = 30,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    json: Json = False,
) -> None:
    """List what models have cost, the dearest first; what belongs to no name has none."""
    if csv and json:
        note("Error: --csv and --json are two ways to answer; choose one")
        raise typer.Exit(WRONG_USE)
    rows = ask(lambda here: _read(here, by, days))
    if json:
        show_json({"by": by, "days": days, "costs": rows})
    elif csv:
        writer = commas.writer(sys.stdout, lineterminator="\n")
        writer.writerow((by, *COLUMNS))
        for row in rows:
            cost = f"{row.cost // MILLION}.{row.cost % MILLION:06}"
            writer.writerow((row.name, cost, row.calls, row.tokens_in, row.tokens_out))
    elif rows:
        show_table(
            (by, "cost", "calls", "tokens in", "tokens out"),
            [
                (row.name or "(none)", money(row.cost), *map(str, (row.calls, row.tokens_in, row.tokens_out)))
                for row in rows
            ],
        )
    else:
        note("Nothing was spent in that time.")


async def _read(here: Deployment, by: Listed, days: int) -> Sequence[CostRow]:
    from nightshift.money.costs import read_costs
    from nightshift.store.client import store_now

    redis, keys = here.runs.ledger.redis, here.runs.ledger.keys
    return await read_costs(redis, keys, by, until=(await store_now(redis)).date(), days=days)
