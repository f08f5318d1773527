"""The periodic jobs: ``jobs``, and running, pausing and resuming one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import money, when
from nightshift.cli.answers import NO, Json, ask, note, show_json, show_table, who
from nightshift.cli.runs import show_run

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.jobs.view import JobView
    from nightshift.runs.row import RunRow

LOOK_AGAIN = 0.2

jobs = typer.Typer(invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A job that `nightshift jobs` lists.")]


@jobs.callback()
def list_jobs(context: typer.Context, json: Json = False) -> None:
    """List the periodic jobs: whether each is on, what it did last and does next."""
    if context.invoked_subcommand:
        return
    from nightshift.jobs.view import read_jobs

    found = ask(lambda here: read_jobs(here.runs.ledger))
    if not found:
        note("No beat has stored a job table yet; start one with `nightshift up` or `nightshift beat`.")
    if json:
        show_json(found)
    elif found:
        columns = ("job", "", "queue", "cadence", "last", "next", "cost today")
        show_table(columns, [_row(job, datetime.now(UTC)) for job in found])
        for job in found:
            if not job.on:
                typer.echo(f"{job.name} is off: {job.why}")


def _row(job: JobView, now: datetime) -> tuple[str, ...]:
    last = ""
    if job.last:
        last = f"{job.last.state} {when(job.last.ended, now)}" if job.last.ended else job.last.state
    coming = when(job.next, now) if job.next else ""
    return job.name, "on" if job.on else "off", job.queue, job.cadence, last, coming, money(job.cost_today)


@jobs.command("run")
def run_by_hand(
    name: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; exit 1 if it failed.")] = False,
    json: Json = False,
) -> None:
    """
    Run a job now, whether it is on or not.

    Prints the id of the run. Its slots come as announced; the job never overlaps itself.
    """
    row = ask(lambda here: _record(here, name, wait=wait, tell=not json))
    if json:
        show_json(show_run(row))
    elif not wait:
        typer.echo(row.id)
    if row.state == "failed":
        raise typer.Exit(NO)


async def _record(here: Deployment, name: str, *, wait: bool, tell: bool) -> RunRow:
    from nightshift.jobs.by_hand import run_job

    ledger = here.runs.ledger
    run, job = await run_job(ledger, name, by=who())
    if not job.on:
        note(f"{name} is off: {job.why}. It is run all the same.")
    row = await ledger.get(run)
    if not wait:
        return row
    if tell:
        typer.echo(row.id)
    told = 0
    while True:
        for line in row.story[told:] if tell else ():
            typer.echo(f"  {line.what} {line.detail}".rstrip())
        told = len(row.story)
        if row.state.ended:
            return row
        await asyncio.sleep(LOOK_AGAIN)
        row = await ledger.get(run)


@jobs.command()
def pause(name: Name) -> None:
    """Keep a job from coming due until it is resumed; what is recorded is still carried out."""
    ask(lambda here: _pause(here, name))
    typer.echo(f"{name} is paused; beat heeds it within seconds, `nightshift jobs resume {name}` ends it")


async def _pause(here: Deployment, name: str) -> None:
    from nightshift.jobs.by_hand import pause_job

    await pause_job(here.runs.ledger, here.controls.switches, name, by=who())


@jobs.command()
def resume(name: Name) -> None:
    """Let a paused job come due again, at its next slot."""
    ask(lambda here: _resume(here, name))
    typer.echo(f"{name} is no longer paused; beat heeds it within seconds")


async def _resume(here: Deployment, name: str) -> None:
    from nightshift.jobs.by_hand import resume_job

    await resume_job(here.runs.ledger, here.controls.switches, name, by=who())
