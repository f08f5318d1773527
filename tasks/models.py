"""Celery entries for the models we ask."""

from __future__ import annotations

from nightshift.deployment import deployment
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def probe(run: Run) -> Outcome:
    """Ask the model for one token, and remember what it cost."""
    answer = await deployment().llm.models.probe(Payer.of(run, Occasion.HEARTBEAT))
    return done(model=answer.model, tokens=answer.tokens_in + answer.tokens_out)
