"""Work whose every attempt leaves a mark outside the store. Loaded by workers under test."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def leave_a_mark(run: Run) -> Outcome:
    """Write a line when the work begins, and one when it is done."""
    mark(run, "began")
    await asyncio.sleep(run.payload.get("seconds", 0))
    mark(run, "finished")
    return done()


def mark(run: Run, what: str) -> None:
    line = f"{what} {run.id} {run.row.token} {os.getpid()}\n"
    journal = os.open(Path(run.payload["journal"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(journal, line.encode())
    os.close(journal)
