"""What may be flipped while everything runs: ``switches``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from nightshift.cli.answers import Json, ask, show_json, show_table

switches = typer.Typer(invoke_without_command=True)


class Position(StrEnum):
    """Where a switch can stand."""

    ON = "on"
    OFF = "off"


@switches.callback()
def show(context: typer.Context, json: Json = False) -> None:
    """Show or flip what may be flipped while everything runs."""
    if context.invoked_subcommand:
        return
    from nightshift.controls.switches import KNOWN

    board = ask(lambda here: here.controls.switches.read())
    if json:
        show_json({"switches": board.on, "paused": board.paused})
        return
    rows = [(name, "on" if on else "off", KNOWN[name]) for name, on in board.on.items()]
    show_table(("switch", "", ""), rows + [(job, "paused", f"by {by}") for job, by in board.paused.items()])


@switches.command("set")
def flip(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="One of those that `nightshift switches` shows.")
    ],
    position: Annotated[Position, typer.Argument(metavar="on|off", help="Where to.")],
) -> None:
    """Flip a switch; what runs heeds it within seconds."""
    ask(lambda here: here.controls.switches.set(name, position is Position.ON))
    typer.echo(f"{name} is {position}")
