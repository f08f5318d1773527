"""Celery's worker, except that it stops as soon as its tasks have ended."""

from __future__ import annotations

import time
from typing import Any

from celery.apps import worker
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import state

LOOK_AGAIN = 0.05


class Worker(worker.Worker):  # type: ignore[misc]  # Celery ships no types
    """A worker whose soft shutdown lasts as long as there is something to wait for, not always to its end."""

    app: Any
    hostname: str

    def wait_for_soft_shutdown(self) -> None:
        """Let running tasks end; the pulse, which never does, is asked to leave before rather than after."""
        until = time.monotonic() + self.app.conf.worker_soft_shutdown_timeout
        worker_shutting_down.send(sender=self.hostname, sig="SIGTERM", how="Cold", exitcode=EX_FAILURE)
        while state.active_requests and time.monotonic() < until:
            time.sleep(LOOK_AGAIN)
