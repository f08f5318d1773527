"""Celery entries for the heartbeats of channels."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from celery import shared_task

from nightshift.deployment import deployment
from nightshift.heartbeats import tending
from nightshift.runs.carry import Run
from nightshift.runs.ledger import DueVisit
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


async def carry_out_visit(self: Any, channel: str, generation: int) -> None:
    """Carry out one visit of a channel, unless it no longer counts."""
    await deployment().heartbeats.visiting.visit([DueVisit(channel, generation, datetime.now(UTC))])


#: No run: the pulse hands a lost one out again, and what is doubled is told by its generation.
visit = shared_task(carry_out_visit, name="tasks.heartbeat.beat", bind=True)


@carried_out_as_run
async def think(run: Run) -> Outcome:
    """Have a model look into a channel and say whether the agent should speak up."""
    return await deployment().heartbeats.thinking.think(run)


@carried_out_as_run
async def tend(run: Run) -> Outcome:
    """Adopt channels that have come to be used, and drop those that are no longer."""
    here = deployment()
    visits, rules = here.heartbeats.visits, await here.heartbeats.rule_book.read()
    again = run.ledger.rules.visit_again
    return done(**await tending.tend(here.channels.store, visits, rules, now=run.started_at, again=again))
