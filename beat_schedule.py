"""
Every periodic job, one row each.

Cadence and switches can be changed in nightshift.toml (``[jobs.NAME]``); rows of one's own come by the
entry point group ``nightshift.jobs``. Beat records each slot as a run; ``nightshift jobs`` shows which rows
are on, and why not.
"""

from __future__ import annotations

from datetime import timedelta

from nightshift.jobs.row import Job, Need, always, flag
from nightshift.time.cadence import cron, every
from nightshift.time.misfire import Misfire
from tasks import backfill, deliveries, graph, heartbeat, keys, ledger, memory, messages, models, pulse

REDIS, GRAPH, CHAT_LLM, KEY_POOL = Need.REDIS, Need.GRAPH, Need.CHAT_LLM, Need.KEY_POOL
RUN_LATEST, SKIP = Misfire.RUN_LATEST, Misfire.SKIP

# fmt: off
JOBS = (
    #   name                task           when                first run after        queue      needs        only if              late
    Job("pulse",            pulse.pulse,   every(seconds=10),  timedelta(seconds=0),  "control", (REDIS,),    always,              SKIP, recorded=False),
    Job("ledger_retention", ledger.retain, every(hours=1),     timedelta(seconds=20), "control", (REDIS,),    always,              RUN_LATEST),
    Job("memory_retention", messages.retain, every(hours=24),  timedelta(minutes=3),  "io",      (REDIS,),    always,              RUN_LATEST),
    Job("graph_census",     graph.count,   every(minutes=15),  timedelta(seconds=10), "graph",   (GRAPH,),    always,              RUN_LATEST),
    Job("model_probe",      models.probe,  every(minutes=30),  timedelta(seconds=5),  "io",      (CHAT_LLM,), flag("model_probe"), RUN_LATEST),
    Job("gemini_key_probe", keys.probe,    every(hours=2),     timedelta(seconds=60), "io",      (KEY_POOL,), always,              RUN_LATEST),
    Job("channel_heartbeat", heartbeat.tend, every(minutes=5), timedelta(minutes=1), "heartbeat", (CHAT_LLM,), flag("channel_heartbeat_enabled"), RUN_LATEST),
    Job("shadow_report",    deliveries.report_shadow, cron("5 0 * * *", "UTC"), timedelta(0), "control", (REDIS,), flag("shadow"),   RUN_LATEST),
    Job("channel_summarization", memory.summarise, every(hours=6), timedelta(minutes=10), "memory", (CHAT_LLM,), always,          RUN_LATEST),
    Job("startup_channel_backfill", backfill.look, every(minutes=2), timedelta(seconds=15), "io", (REDIS,), always,               SKIP),
)
# fmt: on
