"""The worker's app, with a task that waits as long as a model does."""

from __future__ import annotations

import asyncio

from nightshift.runs.carry import Run
from tasks.run import carried_out_as_run
from workers.app import app as app

ANSWERS_IN = 1.0


@carried_out_as_run
async def think(run: Run) -> None:
    """Take a second."""
    await asyncio.sleep(ANSWERS_IN)
