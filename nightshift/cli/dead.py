"""Runs that failed: ``dead``, and letting them try again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.errors import NotPossible
from nightshift.base.words import span
from nightshift.cli.answers import Json, ask, note, show_json
from nightshift.cli.runs import show_run, show_runs
from nightshift.cli.words import duration
from nightshift.runs.states import State

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.runs.row import RunRow

#: What failed longer ago than this may no longer be wanted.
OLD = timedelta(days=1)
LIMIT = 100

dead = typer.Typer(invoke_without_command=True)


@dead.callback()
def show_dead(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = LIMIT,
    json: Json = False,
) -> None:
    """List the runs that failed, newest first, or let them try again."""
    if not context.invoked_subcommand:
        list_dead(limit, json)


@dead.command("list")
def list_dead(
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = LIMIT,
    json: Json = False,
) -> None:
    """List the runs that failed, newest first."""
    show_runs(ask(lambda here: here.runs.ledger.ended_runs(State.FAILED, limit=limit)), json)


@dead.command()
def replay(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Failed runs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every failed run that is kept.")] = False,
    older_than: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="Only those that failed longer ago."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be replayed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Also what failed more than a day ago.")] = False,
    json: Json = False,
) -> None:
    """
    Let failed runs wait again, with their history and a fresh count of attempts.

    Runs that failed more than a day ago may be for something that has passed: they need --yes.
    """
    if bool(runs) == everything:
        raise typer.BadParameter("name the runs to replay, or give --all")
    chosen = ask(lambda here: _replay(here, runs, older_than, dry_run=dry_run, yes=yes))
    note(f"{len(chosen)} failed runs {'would wait' if dry_run else 'wait'} again")
    if dry_run and not json:
        show_runs(chosen, json=False)
    elif json:
        show_json([show_run(row) for row in chosen])


async def _replay(
    here: Deployment, runs: Sequence[str] | None, older_than: timedelta | None, *, dry_run: bool, yes: bool
) -> list[RunRow]:
    from nightshift.store.client import store_now

    now = await store_now(here.runs.ledger.redis)
    failed = [await _failed(here, run) for run in runs] if runs else await _every_failed(here)
    chosen = [row for row in failed if row.ended and now - row.ended >= (older_than or timedelta(0))]
    old = [now - row.ended for row in chosen if row.ended and now - row.ended > OLD]
    if dry_run:
        return chosen
    if old and not yes:
        raise NotPossible(
            f"{len(old)} of these {len(chosen)} runs failed more than a day ago, the first "
            f"{span(max(old))} ago, so what they were for may have passed; "
            "--dry-run lists them, --yes replays them all the same"
        )
    for row in chosen:
        await here.runs.ledger.replay(row.id, by="by hand")
    return [await here.runs.ledger.get(row.id) for row in chosen]


async def _failed(here: Deployment, run: str) -> RunRow:
    row = await here.runs.ledger.get(run)
    if row.state is not State.FAILED:
        raise NotPossible(
            f"{run} is {row.state}, not failed; `nightshift runs requeue {run}` takes any run that has ended"
        )
    return row


async def _every_failed(here: Deployment) -> list[RunRow]:
    count = (await here.runs.ledger.counts())[State.FAILED]
    return await here.runs.ledger.ended_runs(State.FAILED, limit=count) if count else []
