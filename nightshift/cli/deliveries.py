"""What was or was not said: ``deliveries``, one of them, and deciding what nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.base.words import clock, one_line, when
from nightshift.cli.answers import Json, ask, note, show_facts, show_json, show_table, who
from nightshift.deliveries.delivery import DeliveryState

if TYPE_CHECKING:
    from nightshift.deliveries.delivery import Delivery

LIMIT = 20

deliveries = typer.Typer(invoke_without_command=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A delivery that `nightshift deliveries` lists.")]


@deliveries.callback()
def list_deliveries(
    context: typer.Context,
    state: Annotated[
        list[DeliveryState] | None,
        typer.Option(metavar="STATE", help=f"Only {', '.join(DeliveryState)}; may be given again."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option(metavar="PLATFORM:ID", help="Only those to this channel.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = LIMIT,
    json: Json = False,
) -> None:
    """List what was said, or was to be said, and what became of it, newest first."""
    if context.invoked_subcommand:
        return
    from nightshift.base.refs import ChannelRef
    from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
    from nightshift.store.pages import LOOK_THROUGH

    wanted = WantedDeliveries(state or tuple(DeliveryState), ChannelRef.parse(channel) if channel else None)
    page = ask(lambda here: read_deliveries(here.deliveries.store, wanted, limit=limit))
    if json:
        show_json([as_told(delivery) for delivery in page.rows])
    else:
        show_deliveries(page.rows)
    if page.next and len(page.rows) < limit:
        note(f"Stopped after {LOOK_THROUGH} deliveries; there may be more.")


def as_told(delivery: Delivery) -> dict[str, Any]:
    """A delivery as programs see it."""
    return {
        "id": delivery.id,
        "run": delivery.run,
        "channel": str(delivery.channel),
        "text": delivery.text,
        "state": delivery.state,
        "reason": delivery.reason,
        "message_id": delivery.message_id,
        "by": delivery.by,
        "tenant": delivery.tenant,
        "agent": delivery.agent,
        "kind": delivery.kind,
        "times": delivery.times,
        "created": delivery.created,
        "changed": delivery.changed,
        "sent": delivery.sent,
    }


def show_deliveries(rows: Sequence[Delivery]) -> None:
    now = datetime.now(UTC)
    show_table(
        ("delivery", "state", "changed", "channel", "text", "reason"),
        [
            (
                row.id,
                row.state,
                when(row.changed, now),
                str(row.channel),
                one_line(row.text, 60),
                one_line(row.reason, 200),
            )
            for row in rows
        ],
    )


@deliveries.command()
def show(id: Id, json: Json = False) -> None:
    """Show one delivery, and what may be decided of it."""
    from nightshift.deliveries.by_hand import verdicts

    delivery = ask(lambda here: here.deliveries.store.get(id))
    if json:
        show_json(as_told(delivery))
        return
    facts = {
        "delivery": delivery.id,
        "state": f"{delivery.state}, since {clock(delivery.changed)}",
        "reason": one_line(delivery.reason, 500),
        "channel": str(delivery.channel),
        "message": delivery.message_id,
        "asked for by": delivery.run,
        "sent by": f"run {delivery.sending_run}" if delivery.by == "us" else f"the bot of {delivery.agent}",
        "text": one_line(delivery.text, len(delivery.text)) or "(forgotten)",
    }
    show_facts({name: value for name, value in facts.items() if value})
    for verdict in verdicts(delivery):
        typer.echo(f"Decide with: nightshift deliveries resolve {delivery.id} --{verdict}")


@deliveries.command("resolve")
def decide(
    id: Id,
    sent: Annotated[bool, typer.Option("--sent", help="The platform has it: it was unknown.")] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send it again, though it may then stand there twice.")
    ] = False,
    json: Json = False,
) -> None:
    """Decide what became of a delivery that is unknown, or send one again that is unknown or failed."""
    from nightshift.deliveries.by_hand import DeliveryVerdict, resolve

    if sent == resend:
        raise typer.BadParameter("give --sent or --resend")
    verdict = DeliveryVerdict.SENT if sent else DeliveryVerdict.RESEND
    delivery = ask(lambda here: resolve(here.deliveries.store, id, verdict, by=who()))
    if json:
        show_json(as_told(delivery))
    else:
        typer.echo(f"{delivery.id} is {delivery.state}: {delivery.reason}")
