"""Looking at the deployment: ``status`` and ``doctor``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.errors import StoreUnreachable
from nightshift.base.words import money, when
from nightshift.cli.answers import (
    NO,
    STORE_AWAY,
    Json,
    ask,
    explain,
    run,
    show_facts,
    show_json,
    show_table,
)
from nightshift.cli.words import duration

if TYPE_CHECKING:
    from nightshift.status.doctor import Check
    from nightshift.status.overview import Overview

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def status(
    json: Json = False,
    wait: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="Look until it is ready, this long at most."),
    ] = None,
) -> None:
    """
    Say whether the deployment is ready, and what is missing if not.

    It is ready when the state store answers, a beat leads, every queue is consumed by a live worker and
    the pulse is held. Exits 0 only then; 1 if something is missing, 3 if the state store is away.
    """
    try:
        overview = ask(lambda here: here.status.await_ready(wait or timedelta(0)))
    except StoreUnreachable as error:
        if not json:
            raise
        show_json({"ready": False, "why": [explain(error)], "processes": [], "bots": []})
        raise typer.Exit(STORE_AWAY) from error
    if json:
        show_json(overview)
    else:
        _show(overview)
    if not overview.ready:
        raise typer.Exit(NO)


def _show(overview: Overview) -> None:
    from nightshift.processes.signs_of_life import describe

    typer.secho("ready" if overview.ready else "not ready", fg=COLOURS["ok" if overview.ready else "fail"])
    for reason in overview.why:
        typer.echo(f"  - {reason}")
    for warning in overview.warnings:
        typer.secho(f"warning: {warning}", fg=COLOURS["warn"])
    if overview.frozen:
        typer.secho(f"frozen: {overview.frozen.describe()}; `nightshift thaw` ends it", fg=COLOURS["warn"])
    typer.echo()
    show_table(
        ("process", "kind", "pid", "seen", ""),
        [
            (
                each.name,
                each.kind,
                str(each.pid),
                when(each.seen, overview.at) if each.alive else "gone",
                describe(each) if each.alive else "",
            )
            for each in overview.processes
        ],
    )
    if overview.bots:
        typer.echo()
        show_table(
            ("bot of", "on", "serves", "connected", "heard", "process"),
            [
                (
                    bot.agent,
                    bot.platform,
                    bot.serves,
                    when(bot.connected_since, overview.at),
                    when(bot.heard, overview.at) if bot.alive else f"gone, {when(bot.heard, overview.at)}",
                    bot.process,
                )
                for bot in overview.bots
            ],
        )
    ended = (f"{overview.today[how]} {how}" for how in ("done", "skipped", "failed"))
    switches = [f"{name} {'on' if on else 'off'}" for name, on in overview.switches.items()]
    typer.echo()
    show_facts(
        {
            "pulse": f"held by {overview.pulse.holder}" if overview.pulse.held else "held by nobody",
            "open": f"{overview.open['waiting']} waiting, {overview.open['running']} running",
            "today": f"{', '.join(ended)}, {money(overview.today['cost'])}",
            "switches": ", ".join(
                switches + [f"{job} paused by {by}" for job, by in overview.paused.items()]
            ),
        }
    )


def doctor(json: Json = False) -> None:
    """
    Look for everything that could be wrong, and say how to mend it.

    Exits 1 if any check fails; warnings do not count.
    """
    checks = run(_examine(show=not json))
    ok = all(each.verdict != "fail" for each in checks)
    if json:
        show_json({"ok": ok, "checks": checks})
    if not ok:
        raise typer.Exit(NO)


async def _examine(*, show: bool) -> list[Check]:
    from nightshift.status.doctor import examine

    checks = []
    async for check in examine():
        checks.append(check)
        if show:
            typer.secho(f"{check.verdict:<5}", fg=COLOURS[check.verdict], nl=False)
            typer.echo(f" {check.name:<12} {check.says}")
            if check.fix:
                typer.echo(f"{'':18} fix: {check.fix}")
    return checks
