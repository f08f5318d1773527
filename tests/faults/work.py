"""Work whose every attempt leaves a mark outside the store. Loaded by workers under test."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import structlog

from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run

#: As a library logs, which knows nothing of runs.
library = logging.getLogger("library")


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


@carried_out_as_run
async def speak(run: Run) -> Outcome:
    """Log this run's name in every way that work, what it starts and libraries do."""
    structlog.get_logger("work").info(f"said by the work, meant {run.id}")
    library.info("said by a library, meant %s", run.id)
    await asyncio.gather(*(asyncio.create_task(_speak_later(run)) for _ in range(2)))
    await asyncio.to_thread(library.warning, "said in a thread, meant %s", run.id)
    heard = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, _speak_and_set, run, heard)
    await heard.wait()
    library.error("said of an error, meant %s", run.id, exc_info=ZeroDivisionError())
    return done()


async def _speak_later(run: Run) -> None:
    await asyncio.sleep(0.01)
    library.info("said by a task, meant %s", run.id)


def _speak_and_set(run: Run, heard: asyncio.Event) -> None:
    library.info("said by a callback, meant %s", run.id)
    heard.set()
