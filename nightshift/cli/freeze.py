"""Stopping every call and send at once, and letting them go on: ``freeze`` and ``thaw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.answers import ask, who

if TYPE_CHECKING:
    pass


def freeze(
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Shown to whoever asks why everything stands still.")
    ] = "",
) -> None:
    """
    Stop every call to a model and every send, everywhere, within 5 s.

    Calls under way are cut short. What waits goes on waiting, and loses nothing by it.
    """
    freezing = ask(lambda here: here.controls.freeze.freeze(who(), reason))
    typer.echo(f"{freezing.describe()}; `nightshift thaw` ends it")


def thaw() -> None:
    """Let calls and sends be made again; what waited comes back one by one."""
    from nightshift.controls.freeze import describe_thaw

    typer.echo(describe_thaw(ask(lambda here: here.controls.freeze.thaw(who()))))
