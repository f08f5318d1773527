"""From slots that have come to what the ledger is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from nightshift.runs.ledger import Advance, Missed
from nightshift.runs.row import RunRequest
from nightshift.runs.states import Overlap
from nightshift.time.misfire import CatchUp

Recording = tuple[RunRequest | None, Advance | None, Missed | None]


def recordings(
    source: str, plan: CatchUp, advance: Advance, request: Callable[[datetime], RunRequest]
) -> list[Recording]:
    """
    What to record, in this order.

    Only the last moves the source on: a crash in between leaves it where it was, and saying the
    first ones again changes nothing. Slots that are caught up together wait for each other in their lane.
    """
    missed = None
    if plan.missed and plan.missed_from and plan.missed_until:
        missed = Missed(source, plan.missed, plan.missed_from, plan.missed_until)
    requests = [request(slot) for slot in plan.run]
    if len(requests) > 1:
        requests = [replace(each, overlap=Overlap.ALLOW) for each in requests]
    runs: list[RunRequest | None] = [*requests] or [None]
    return [(run, None, None) for run in runs[:-1]] + [(runs[-1], advance, missed)]
