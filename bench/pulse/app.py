"""The deployment's app with one more task, that does nothing."""

from __future__ import annotations

from nightshift.runs.carry import Run
from tasks.run import carried_out_as_run
from workers.app import app

__all__ = ["app", "nothing"]


@carried_out_as_run
async def nothing(run: Run) -> None:
    """Do nothing."""
