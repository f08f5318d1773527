"""What people do to a run."""

from __future__ import annotations

from nightshift.base.errors import NotPossible
from nightshift.runs.ledger import Ledger


async def requeue_run(ledger: Ledger, run: str, *, by: str) -> None:
    """Let an ended run wait again, with its history and a fresh count of attempts."""
    row = await ledger.get(run)
    if not row.state.ended:
        raise NotPossible(
            f"{run} is {row.state}, so it cannot be requeued; "
            f"`nightshift why {run}` says what it waits for, `nightshift runs cancel {run}` ends it"
        )
    await ledger.replay(run, by=by)
