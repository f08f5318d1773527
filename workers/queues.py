"""The queues as Celery consumes them."""

from __future__ import annotations

from kombu import Exchange, Queue

from nightshift.runs.queues import QUEUES

EXCHANGE = Exchange("nightshift", type="direct")

CELERY_QUEUES = tuple(Queue(queue.name, EXCHANGE, routing_key=queue.name) for queue in QUEUES)
