"""Forgetting a user or a channel, everywhere, and what was forgotten so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import when
from nightshift.cli.answers import Json, ask, note, show_json, show_table, who

if TYPE_CHECKING:
    from nightshift.base.refs import ChannelRef, UserRef
    from nightshift.forgetting import Receipt

forget = typer.Typer(no_args_is_help=True)
Yes = Annotated[
    bool, typer.Option("--yes", help="Do it. Without this, only say how much there is; nothing is changed.")
]


@forget.callback()
def main() -> None:
    """Forget a user or a channel, everywhere, or list what was forgotten."""


@forget.command()
def user(
    name: Annotated[str, typer.Argument(metavar="PLATFORM:ID", help="The user, as in discord:1234.")],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget all that a user said up to now, wherever, and what was made of it."""
    from nightshift.base.refs import UserRef

    _forget(UserRef.parse(name), yes, json)


@forget.command()
def channel(
    name: Annotated[str, typer.Argument(metavar="PLATFORM:ID", help="The channel, as in discord:1234.")],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget a channel, all that was said there up to now, and what was made of it."""
    from nightshift.base.refs import ChannelRef

    _forget(ChannelRef.parse(name), yes, json)


@forget.command()
def receipts(json: Json = False) -> None:
    """List what was forgotten so far, the latest first."""

    found = ask(lambda here: here.forgetting.receipts())
    if json:
        show_json([show_receipt(receipt) for receipt in found])
        return
    now = datetime.now(UTC)
    show_table(
        ("receipt", "what", "when", "by", "how much"),
        [(each.id, each.what, when(each.at, now), each.by, _counts(each.counts)) for each in found],
    )


def show_receipt(receipt: Receipt) -> dict[str, object]:
    """A receipt as programs see it."""
    return {
        "id": receipt.id,
        "what": receipt.what,
        "at": receipt.at,
        "by": receipt.by,
        "counts": dict(receipt.counts),
        "finished": receipt.finished,
    }


def _forget(subject: UserRef | ChannelRef, yes: bool, json: bool) -> None:

    if not yes:
        found = ask(lambda here: here.forgetting.preview(subject))
        if json:
            show_json({"what": f"{subject.NOUN} {subject}", "counts": found})
        elif not any(found.values()):
            typer.echo(f"Nothing of {subject} is kept here; is the name right?")
            note("Nothing was changed; --yes keeps what was said up to now from coming in.")
        else:
            typer.echo(f"Of {subject.NOUN} {subject} there are: {_counts(found)}")
            note("Nothing was changed; --yes forgets it, and nothing brings it back.")
        return
    receipt = ask(lambda here: here.forgetting.forget(subject, by=who()))
    if json:
        show_json(show_receipt(receipt))
    elif not any(receipt.counts.values()):
        typer.echo(f"Nothing of {subject} was kept here; is the name right? (receipt {receipt.id})")
        note("What was said up to now is kept from coming in.")
    else:
        typer.echo(f"Forgotten: {receipt.what}: {_counts(receipt.counts)} (receipt {receipt.id})")


def _counts(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    return told if any(counts.values()) else "nothing"
