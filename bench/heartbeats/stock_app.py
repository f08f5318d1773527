"""Stock Celery: its own transport, its own pool of threads, and a task that notes when it began."""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

from bench.heartbeats.noted import NOTED, STOCK_PREFIX

socket = os.environ["NIGHTSHIFT_STATE_URL"].removeprefix("unix://").partition("?")[0]
app = Celery("stock", broker=os.environ["NIGHTSHIFT_BROKER_URL"])
app.conf.update(
    broker_transport_options={"global_keyprefix": STOCK_PREFIX},
    worker_pool="threads",
    worker_concurrency=100,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
)
client = redis.Redis(unix_socket_path=socket)


@app.task(name="stock.visit")  # type: ignore[untyped-decorator]  # Celery ships no types
def visit(channel: str, at: float) -> None:
    """Note how late it is, in milliseconds."""
    client.rpush(NOTED, (time.time() - at) * 1000)
