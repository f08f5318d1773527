"""The calls as Celery tasks, for a worker on the asyncio pool."""

from __future__ import annotations

import os

from celery import Celery

from bench.pool.calls import call_model
from workers import broker
from workers.pool import awaited

broker.install()
app = Celery("bench", broker=os.environ["BENCH_REDIS"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_pool=os.environ.get("BENCH_POOL", "workers.pool:AsyncioPool"),
)


call = app.task(name="call")(awaited(call_model))
