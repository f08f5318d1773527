"""Celery entries for the keys that endpoints are called with."""

from __future__ import annotations

from nightshift.deployment import deployment
from nightshift.llm.key_probe import probe_keys
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done
from tasks.run import carried_out_as_run


@carried_out_as_run
async def probe(run: Run) -> Outcome:
    """Ask whether the keys that were not well are well again."""
    llm, payer = deployment().llm, Payer.of(run, Occasion.MEMORY)
    return done(**await probe_keys(llm.key_pools, llm.uses, llm.calls, payer))
