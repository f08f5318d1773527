"""
The Celery app: ``celery -A workers.app worker | beat | flower | inspect | control``.

Every setting that is the same for all processes is said here, in Celery's own names; a user's
``[celery]`` table is laid over it.
"""

from __future__ import annotations

import pkgutil
import re
from functools import cached_property
from importlib import import_module
from typing import Any

from celery import Celery
from celery.app import utils as celery_utils
from celery.signals import setup_logging

import beat_schedule
import tasks
from nightshift.deployment import process_settings
from nightshift.jobs.table import resolve
from nightshift.machine import servers
from nightshift.processes.log import configure_logging
from nightshift.runs.queues import VISIBILITY_TIMEOUT
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from workers import broker, flower
from workers.health import WorkerSignOfLife
from workers.queues import CELERY_QUEUES
from workers.task import CoroutineTask

REDACTED = "(redacted)"


def celery_settings(settings: Settings) -> dict[str, Any]:
    keys = Keys(settings.key_root)
    ours: dict[str, Any] = {
        "broker_url": servers.broker_url(settings),
        "broker_transport_options": {
            "global_keyprefix": keys.broker_prefix,
            "visibility_timeout": int(VISIBILITY_TIMEOUT.total_seconds()),
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 5,
            "socket_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_queues": CELERY_QUEUES,
        "task_create_missing_queues": False,
        "task_default_queue": "control",
        "task_default_exchange": "nightshift",
        "task_default_routing_key": "control",
        "worker_pool": "workers.pool:AsyncioPool",
        "worker_concurrency": settings.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": 20.0,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": settings.task_events,
        "task_send_sent_event": settings.task_events,
        "beat_scheduler": "workers.beat:Scheduler",
        "beat_schedule": {},
        "beat_max_loop_interval": 2,
        "redbeat_redis_url": servers.state_url(settings),
        "redbeat_redis_options": {"socket_timeout": 3, "socket_connect_timeout": 3},
        "redbeat_key_prefix": keys.beat_prefix,
        "redbeat_lock_timeout": 10,
    }
    # A table of the user's is laid over ours key by key, so that one option does not cost the others.
    tables = {
        name: {**ours[name], **value}
        for name, value in settings.celery.items()
        if isinstance(ours.get(name), dict)
    }
    return {**ours, **settings.celery, **tables}


class App(Celery):  # type: ignore[misc]  # Celery ships no types
    """Celery, except that arguments never reach an event, Flower or a log, and workers stop once idle."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802  Celery's name
        return self.subclass_with_self("workers.worker:Worker")

    def send_task(self, *args: Any, **options: Any) -> Any:
        return super().send_task(*args, **{"argsrepr": REDACTED, "kwargsrepr": REDACTED, **options})


broker.install()
flower.install()
# Celery hides what is secret among its own settings from `inspect conf` and Flower; RedBeat's URL holds a
# password too.
celery_utils.HIDDEN_SETTINGS = re.compile(f"{celery_utils.HIDDEN_SETTINGS.pattern}|REDIS_URL", re.IGNORECASE)
app = App("nightshift", task_cls=CoroutineTask)
app.conf.update(celery_settings(process_settings()))

app.steps["worker"].add(WorkerSignOfLife)

for module in pkgutil.iter_modules(tasks.__path__, prefix="tasks."):
    import_module(module.name)
# Rows that installed packages bring name tasks of theirs, which are known from here on.
resolve(beat_schedule.JOBS, {})


def _log_our_way(**_: Any) -> None:
    configure_logging(process_settings().log_format)


setup_logging.connect(_log_our_way)
