"""Celery entries for the ledger's own upkeep."""

from __future__ import annotations

from datetime import timedelta

from nightshift.deliveries.retention import forget_old_deliveries, give_up_on_bots
from nightshift.deployment import deployment
from nightshift.runs.carry import Run
from nightshift.runs.retention import KEEP_SKIPPED, forget_old_runs
from nightshift.runs.states import Outcome, State, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def retain(run: Run) -> Outcome:
    """Drop ended runs that are older than they are kept."""
    here = deployment()
    settings = here.settings
    keep = {
        State.DONE: timedelta(days=settings.retention_done_days),
        State.SKIPPED: KEEP_SKIPPED,
        State.FAILED: timedelta(days=settings.retention_failed_days),
    }
    forgotten = await forget_old_runs(run.ledger, now=run.started_at, keep=keep)
    deliveries = here.deliveries.store
    given_up = await give_up_on_bots(deliveries, now=run.started_at)
    dropped = await forget_old_deliveries(
        deliveries, now=run.started_at, done=keep[State.DONE], failed=keep[State.FAILED]
    )
    return done(**forgotten, deliveries=dropped, deliveries_given_up=given_up)
