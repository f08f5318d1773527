"""What would have been said: ``shadow``."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.base.words import money, one_line, times
from nightshift.cli.answers import Json, ask, note, show_json, show_table
from nightshift.cli.deliveries import as_told

if TYPE_CHECKING:
    from nightshift.deliveries.shadow_report import ShadowReport
    from nightshift.deployment import Deployment


def shadow(
    yesterday: Annotated[bool, typer.Option("--yesterday", help="The day before (UTC), not today.")] = False,
    json: Json = False,
) -> None:
    """Tell what would have been said today, to whom, and what the day has cost so far."""
    day = datetime.now(UTC).date() - timedelta(days=yesterday)
    report, on = ask(lambda here: _read(here, day))
    if json:
        facts = {
            "on": on,
            **report.facts,
            "by_channel": {str(ref): number for ref, number in report.by_channel.items()},
            "said": [as_told(delivery) for delivery in report.said],
        }
        show_json(facts)
        return
    note("Shadow is on." if on else "Shadow is off: what is to be said, is said.")
    typer.echo(
        f"On {day} something would have been said {times(report.times)}, "
        f"to {len(report.by_channel)} channel{'s' * (len(report.by_channel) != 1)}; "
        f"the day cost {money(report.cost)}."
    )
    if report.said:
        show_table(
            ("at", "channel", "agent", "text"),
            [
                (f"{each.changed:%H:%M:%S}", str(each.channel), each.agent, one_line(each.text, 100))
                for each in report.said
            ],
        )
    if report.times > len(report.said):
        note(f"These are the first {len(report.said)}; the others are only counted.")


async def _read(here: Deployment, day: date) -> tuple[ShadowReport, bool]:
    from nightshift.deliveries.shadow_report import read_report

    report = await read_report(here.deliveries.store, here.runs.ledger, day)
    return report, (await here.controls.switches.read()).in_shadow
