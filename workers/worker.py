"""Celery's worker, except that it stops as soon as its tasks have ended, and can be seen to be alive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.apps import worker
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import consumer, state

from nightshift.deployment import import_features, liveness, process_settings
from nightshift.processes.liveness_file import Liveness
from workers.health import close_clients

LOOK_AGAIN = 0.05


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery ships no types
    """
    A consumer that is alive, though not ready, while it waits for a broker that is away.

    It lets go of countdowns as they come due.
    """

    def ensure_connected(self, conn: Any) -> Any:
        # kombu waits in a loop of its own, in which no timer fires: now, and whenever this one is lost.
        connect, liveness = conn._ensure_connection, self.controller.liveness

        def connect_visibly(*args: Any, callback: Callable[[], None] | None = None, **options: Any) -> Any:
            def wait() -> None:
                liveness.touch()
                liveness.tell_ready(False)
                if callback is not None:
                    callback()

            return connect(*args, callback=wait, **options)

        conn._ensure_connection = connect_visibly
        return super().ensure_connected(conn)

    def apply_eta_task(self, task: Any) -> None:
        # A request whose time has come needs its timer's entry no more. The two hold each other, and would be
        # freed once the collector comes round to them, thousands of countdowns later.
        task._eta_timer_entry = None
        super().apply_eta_task(task)


class Worker(worker.Worker):  # type: ignore[misc]
    """A worker whose soft shutdown lasts as long as there is something to wait for, not always to its end."""

    app: Any
    hostname: str
    liveness: Liveness

    def on_before_init(self, **options: Any) -> None:
        self.liveness = liveness(process_settings(), self.hostname)
        self.liveness.begin()
        import_features()
        super().on_before_init(**options)

    def setup_defaults(self, **chosen: Any) -> None:
        super().setup_defaults(**{"consumer_cls": Consumer} | chosen)

    def wait_for_soft_shutdown(self) -> None:
        """Let running tasks end; the pulse, which never does, is asked to leave before rather than after."""
        self.liveness.tell_ready(False)
        until = time.monotonic() + self.app.conf.worker_soft_shutdown_timeout
        worker_shutting_down.send(sender=self.hostname, sig="SIGTERM", how="Cold", exitcode=EX_FAILURE)
        while state.active_requests and time.monotonic() < until:
            # This is a signal handler, in which the consumer's own loop stands still.
            self.liveness.touch()
            time.sleep(LOOK_AGAIN)

    def _shutdown(self, warm: bool = True) -> None:
        # A warm shutdown waits for the last task, however long that takes.
        with self.liveness.kept_fresh():
            super()._shutdown(warm)
            close_clients()
        self.liveness.end()
