"""How long ended runs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from nightshift.runs.ledger import Ledger
from nightshift.runs.states import State

#: A skipped run leaves its reason in the tally; its row is kept just long enough to be asked about.
KEEP_SKIPPED = timedelta(days=2)


async def forget_old_runs(
    ledger: Ledger, *, now: datetime, keep: Mapping[State, timedelta]
) -> dict[str, int]:
    """
    Drop ended runs that are older than their state is kept; daily counts and cost stay 13 months.

    Safe to run twice: what is gone is gone.
    """
    forgotten = {}
    for state, age in keep.items():
        forgotten[str(state)] = sum([n async for n in ledger.forget_ended(state, before=now - age)])
    return forgotten
