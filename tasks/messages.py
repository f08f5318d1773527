"""Celery entries for what was said."""

from __future__ import annotations

from datetime import timedelta

from nightshift.deployment import deployment
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def retain(run: Run) -> Outcome:
    """Drop messages that are older than they are kept, and what of them can be recalled."""
    here = deployment()
    oldest = run.started_at - timedelta(days=here.settings.recall_days)
    return done(
        messages=await here.memory.messages.drop_old(),
        recalled=await here.memory.recalled.forget_before(oldest),
    )
