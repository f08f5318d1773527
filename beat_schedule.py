"""
Every periodic job, one row each.

Cadence and switches can be changed in nightshift.toml (``[jobs.NAME]``); rows of one's own come by the
entry point group ``nightshift.jobs``. Beat records each slot as a run; ``nightshift jobs`` shows which rows
are on, and why not.
"""

from __future__ import annotations

from datetime import timedelta

from nightshift.jobs.row import Job, Need, always, flag
from nightshift.time.cadence import every
from nightshift.time.misfire import Misfire
from tasks import graph, ledger, models, pulse

REDIS, GRAPH, CHAT_LLM = Need.REDIS, Need.GRAPH, Need.CHAT_LLM
RUN_LATEST, SKIP = Misfire.RUN_LATEST, Misfire.SKIP

# fmt: off
JOBS = (
    #   name                task           when                first run after        queue      needs        only if              late
    Job("pulse",            pulse.pulse,   every(seconds=10),  timedelta(seconds=0),  "control", (REDIS,),    always,              SKIP, recorded=False),
    Job("ledger_retention", ledger.retain, every(hours=1),     timedelta(seconds=20), "control", (REDIS,),    always,              RUN_LATEST),
    Job("graph_census",     graph.count,   every(minutes=15),  timedelta(seconds=10), "graph",   (GRAPH,),    always,              RUN_LATEST),
    Job("model_probe",      models.probe,  every(minutes=30),  timedelta(seconds=5),  "io",      (CHAT_LLM,), flag("model_probe"), RUN_LATEST),
)
# fmt: on
