"""Celery entries for what was said while nobody listened."""

from __future__ import annotations

import uuid

from nightshift.deployment import deployment
from nightshift.intake.connections import Holder
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome
from tasks.run import carried_out_as_run

#: This process: the connections it holds end with it.
LIFE = uuid.uuid4().hex


@carried_out_as_run
async def look(run: Run) -> Outcome:
    """Start the backfill of platforms that have connected."""
    return await deployment().intake.backfill.look(run, Holder(run.row.worker, LIFE))


@carried_out_as_run
async def backfill_channel(run: Run) -> Outcome:
    """Read one channel's past."""
    return await deployment().intake.backfill.read_channel(run)
