"""
The base of every task that carries a run out.

A message holds a run's id and nothing else: it is a hint that the run waits. Claim, lease, deadline,
outcome, cost, log and event are said once, in ``nightshift.runs.carry``.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from nightshift.deployment import deployment
from nightshift.runs.carry import Work, carry_out


def carried_out_as_run(work: Work) -> Any:
    """Make a Celery task of this work; the ledger decides whether a message means anything."""

    async def entry(self: Any, run_id: str) -> None:
        await carry_out(
            deployment().runs.ledger, run_id, work, worker=self.request.hostname, message=self.request.id
        )

    entry.__doc__ = work.__doc__
    entry.__module__ = work.__module__
    name = getattr(work, "__name__", type(work).__name__)
    return shared_task(entry, name=f"{work.__module__}.{name}", bind=True)
