"""The periodic jobs: ``jobs``, and running, pausing and resuming one."""

from __future__ import annotations

import asyncio
import getpass
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.answers import NO, Deployment, Json, ask, note, show_json, show_table
from nightshift.cli.runs import show_run
from nightshift.phrases import money, when

if TYPE_CHECKING:
    from nightshift.overview import JobView
    from nightshift.runs.row import RunRow

LOOK_AGAIN = 0.2

jobs = typer.Typer(invoke_without_command=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="A job that `nightshift jobs` lists.")]


@jobs.callback()
def list_jobs(context: typer.Context, json: Json = False) -> None:
    """List the periodic jobs: whether each is on, what it did last and does next."""
    if context.invoked_subcommand:
        return
    from nightshift.overview import read_jobs

    found = ask(lambda here: read_jobs(here.ledger))
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
    from nightshift.jobs.by_hand import request_by_hand
    from nightshift.jobs.table import read_job
    from nightshift.store import store_now

    ledger = here.ledger
    job = await read_job(ledger.redis, ledger.keys, name)
    request = request_by_hand(job, await store_now(ledger.redis), by=_who())
    if not job.on:
        note(f"{name} is off: {job.why}. It is run all the same.")
    await ledger.record(request)
    row = await ledger.get(request.id)
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
        row = await ledger.get(request.id)


@jobs.command()
def pause(name: Name) -> None:
    """Keep a job from coming due until it is resumed; what is recorded is still carried out."""
    ask(lambda here: _pause(here, name))
    typer.echo(f"{name} is paused; beat heeds it within seconds, `nightshift jobs resume {name}` ends it")


async def _pause(here: Deployment, name: str) -> None:
    await _require(here, name)
    await here.switches.pause(name, by=_who())


@jobs.command()
def resume(name: Name) -> None:
    """Let a paused job come due again, at its next slot."""
    ask(lambda here: _resume(here, name))
    typer.echo(f"{name} is no longer paused; beat heeds it within seconds")


async def _resume(here: Deployment, name: str) -> None:
    if name not in (await here.switches.read()).paused:
        await _require(here, name)
    await here.switches.resume(name)


async def _require(here: Deployment, name: str) -> None:
    from nightshift.jobs.table import read_job

    await read_job(here.ledger.redis, here.ledger.keys, name)


def _who() -> str:
    """Who is at this terminal, as rows remember it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number alone
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
