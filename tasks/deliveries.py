"""Celery entries for deliveries."""

from __future__ import annotations

from nightshift.deliveries.shadow_report import DAY, read_report
from nightshift.deployment import deployment
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def send(run: Run) -> Outcome:
    """Bring the delivery that this run is for to an end."""
    return await deployment().deliveries.sender.send(run)


@carried_out_as_run
async def report_shadow(run: Run) -> Outcome:
    """Count what shadow kept back on the day before, and what that day cost."""
    report = await read_report(deployment().deliveries.store, run.ledger, run.nominal.date() - DAY)
    return done(**report.facts)
