"""The calls as taskiq tasks on its list queue, which acknowledges nothing."""

from __future__ import annotations

import os

from taskiq_redis import ListQueueBroker

from bench.pool.calls import call_model

broker = ListQueueBroker(os.environ["BENCH_REDIS"])
call = broker.task(call_model)
