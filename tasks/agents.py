"""Celery entries for agents that a model speaks for."""

from __future__ import annotations

from nightshift.deployment import deployment
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome
from tasks.run import carried_out_as_run


@carried_out_as_run
async def write(run: Run) -> Outcome:
    """Have a model write what the agent says."""
    return await deployment().work.writing.write(run)
