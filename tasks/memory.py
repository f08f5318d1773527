"""Celery entries for what is made of messages: vectors and summaries."""

from __future__ import annotations

from nightshift.deployment import deployment
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done, skipped
from tasks.run import carried_out_as_run


@carried_out_as_run
async def embed(run: Run) -> Outcome:
    """Give the messages that wait their vectors."""
    memory = deployment().memory
    if off := memory.embedding_queue.off:
        return skipped(off)
    return done(**await memory.embedding.see_to_waiting(Payer.of(run, Occasion.MEMORY), run.started_at))


@carried_out_as_run
async def summarise(run: Run) -> Outcome:
    """Have the channels summarised in which something was said since their summary."""
    return done(**await deployment().memory.summarising.record_changed(run))


@carried_out_as_run
async def summarise_channel(run: Run) -> Outcome:
    """Bring the summary of one channel up to date."""
    return await deployment().memory.summarising.summarise(run)
