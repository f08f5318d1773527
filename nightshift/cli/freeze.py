"""Stopping every call and send at once, and letting them go on: ``freeze`` and ``thaw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.answers import Deployment, ask, who

if TYPE_CHECKING:
    from nightshift.controls.freeze import Freeze


def _freeze(here: Deployment) -> Freeze:
    from nightshift.controls.freeze import Freeze

    return Freeze(here.ledger.redis, here.ledger.keys)


def freeze(
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Shown to whoever asks why everything stands still.")
    ] = "",
) -> None:
    """
    Stop every call to a model and every send, everywhere, within 5 s.

    Calls under way are cut short. What waits goes on waiting, and loses nothing by it.
    """
    freezing = ask(lambda here: _freeze(here).freeze(who(), reason))
    typer.echo(f"{freezing.describe()}; `nightshift thaw` ends it")


def thaw() -> None:
    """Let calls and sends be made again; what waited comes back one by one."""
    from nightshift.controls.freeze import describe_thaw

    typer.echo(describe_thaw(ask(lambda here: _freeze(here).thaw(who()))))
