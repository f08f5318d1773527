"""Celery entries for the models we ask."""

from __future__ import annotations

from nightshift import bootstrap
from nightshift.llm.probe import ask_whether_it_answers
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def probe(run: Run) -> Outcome:
    """Ask the model for one token, and remember what it cost."""
    answer = await ask_whether_it_answers(bootstrap.settings().model, bootstrap.parts())
    run.spend(answer.micro_usd)
    return done(model=answer.model, tokens=answer.tokens)
