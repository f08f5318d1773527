"""Stopping every call and send at once, and letting them go on: ``freeze`` and ``thaw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.answers import Deployment, ask, who

if TYPE_CHECKING:
    from nightshift.freeze import Freeze


def _freeze(here: Deployment) -> Freeze:
    from nightshift.freeze import Freeze

    return Freeze(here.ledger.redis, here.ledger.keys)


def freeze(
    reason: Annotated[str, typer.Option(help="Shown to whoever asks why everything stands still.")] = "",
) -> None:
    """
    Stop every call to a model and every send, everywhere, within 5 s.

    Calls under way are cut short. What waits goes on waiting, and loses nothing by it.
    """
    freezing = ask(lambda here: _freeze(here).freeze(who(), reason))
    typer.echo(f"{freezing.describe()}; `nightshift thaw` ends it")


def thaw() -> None:
    """Let calls and sends be made again; what waited comes back one by one."""
    waited = ask(lambda here: _freeze(here).thaw(who()))
    typer.echo(f"nothing is frozen; {waited} runs that waited come back one by one")
