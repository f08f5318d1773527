"""
Carrying one run out: claim it, work under its deadline while the claim is renewed, settle it.

Whatever happens to the process, the run ends as one of a closed set of outcomes; what the work raises
is read here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn

import structlog

from nightshift.base.errors import (
    Frozen,
    LostLease,
    OutOfBudget,
    PermanentError,
    StoreFull,
    StoreUnreachable,
    TransientError,
)
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import (
    Outcome,
    State,
    crashed,
    done,
    failed,
    handed_back,
    held_up,
    postponed,
    retry_pause,
    skipped,
)

log = structlog.get_logger("nightshift.runs")

#: How long handing a run back may take while its process is being stopped.
HAND_BACK = timedelta(seconds=5)

#: How long a finished run waits for a store that is away.
PATIENCE = timedelta(minutes=2)

#: What found the store full looks again after this.
ROOM_AGAIN = timedelta(minutes=1)

#: What a CancelledError carries when somebody revoked the message, rather than stopped the process.
REVOKED = "terminated"

Work = Callable[["Run"], Awaitable[Outcome | None]]


@dataclass
class Run:
    """What the work sees of the run it carries out."""

    row: RunRow
    ledger: Ledger
    cost: int = 0
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def nominal(self) -> datetime:
        return self.row.nominal

    @property
    def started_at(self) -> datetime:
        """The instant of the claim, by the store's clock."""
        assert self.row.started is not None  # noqa: S101  a claimed run has started
        return self.row.started

    @property
    def payload(self) -> Any:
        return self.row.payload

    @property
    def checkpoint(self) -> Any:
        """What an earlier attempt saved, or nothing."""
        return self.row.checkpoint

    async def save(self, checkpoint: Any) -> None:
        """
        Store what the next attempt must not do, or pay for, again.

        Raises as ``renew`` does: then nothing outside may be changed either.
        """
        await self.renew(checkpoint)

    def spend(self, micro_usd: int) -> None:
        """Count money against this run; stored with the next renewal and at the end."""
        self.cost += micro_usd

    async def renew(self, checkpoint: Any = None) -> None:
        """
        Keep the claim.

        Raises LostLease if the run is no longer ours. If a person cancelled it, the work ends here.
        """
        async with self._saving:
            stop = await self.ledger.renew(self.row.id, self.row.token, cost=self.cost, checkpoint=checkpoint)
        if stop:
            raise _Cancelled(stop)


async def carry_out(ledger: Ledger, run_id: str, work: Work, *, worker: str, message: str) -> State | str:
    """
    Carry the run out if it is ours; otherwise say in a word why not.

    Safe to call for any hint, however late or doubled.
    """
    claimed = await ledger.claim(run_id, worker=worker, message=message)
    if isinstance(claimed, str):
        log.debug("hint_dropped", run=run_id, why=claimed)
        return claimed
    run = Run(claimed, ledger)
    with structlog.contextvars.bound_contextvars(
        run=run.id, source=claimed.source, tenant=claimed.tenant, agent=claimed.agent
    ):
        return await _carry_out_claimed(run, work)


async def _carry_out_claimed(run: Run, work: Work) -> State | str:
    outcome: Outcome | None = None
    try:
        outcome = await _attempt(run, work)
        return await _settle(run, outcome)
    except LostLease as lost:
        log.warning("lease_lost", why=str(lost), refused=outcome.state if outcome else None)
        return "lost"
    except asyncio.CancelledError as stopped:
        # The process is being stopped, or somebody revoked the message; what is finished stays finished.
        if outcome is None:
            outcome = skipped("revoked") if REVOKED in stopped.args else handed_back("worker stopped")
        with suppress(LostLease, TimeoutError):
            async with asyncio.timeout(HAND_BACK.total_seconds()):
                await _settle(run, outcome)
        raise


async def _settle(run: Run, outcome: Outcome) -> State:
    # Finished work is worth waiting for the store; if it took the run away meanwhile, the token says so.
    give_up = asyncio.get_running_loop().time() + PATIENCE.total_seconds()
    while True:
        try:
            state = await run.ledger.settle(run.row.id, run.row.token, outcome, cost=run.cost)
            break
        except StoreUnreachable:
            if asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(1)
    log.info(
        "run_settled" if state.ended else "run_returned",
        state=state,
        reason=outcome.reason,
        cost=run.cost,
        attempt=run.row.attempts + 1,
        # Numbers alone: words may be somebody's, and a log forgets nothing.
        **{f"fact_{name}": n for name, n in outcome.facts.items() if isinstance(n, int | float)},
    )
    return state


async def _attempt(run: Run, work: Work) -> Outcome:
    """Do the work under its deadline; read whatever it raises as an outcome."""
    try:
        return await _under_lease(run, work) or done()
    except (LostLease, asyncio.CancelledError):
        raise
    except _Cancelled as cancelled:
        return skipped(str(cancelled))
    except _DeadlinePassed:
        return crashed(f"deadline: still working after {run.row.deadline}", retry_pause(run.row.attempts + 1))
    except (Frozen, OutOfBudget) as error:
        return held_up(_words(error), error.retry_after or retry_pause(1))
    except StoreFull as error:
        return held_up(_words(error), ROOM_AGAIN)
    except TransientError as error:
        pause = error.retry_after or retry_pause(run.row.retries + 1)
        return postponed(_words(error), pause)
    except PermanentError as error:
        return failed(_words(error))
    except Exception as error:
        log.exception("run_crashed")
        return crashed(_words(error), retry_pause(run.row.attempts + 1))


class _Cancelled(Exception):
    """A person cancelled the run while it was being carried out."""


class _DeadlinePassed(Exception):
    """The work took longer than its run may."""


async def _under_lease(run: Run, work: Work) -> Outcome | None:
    working = asyncio.ensure_future(work(run))
    keeping = asyncio.create_task(_keep_lease(run))
    try:
        finished, _ = await asyncio.wait(
            {working, keeping},
            timeout=run.row.deadline.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        if working in finished:
            if working.cancelled():
                raise RuntimeError("the work cancelled itself")
            return working.result()
        if keeping in finished:
            keeping.result()
        raise _DeadlinePassed
    finally:
        for task in (working, keeping):
            task.cancel()
        # The work's own clean-up is waited for, though not forever.
        await asyncio.wait({working, keeping}, timeout=HAND_BACK.total_seconds())


async def _keep_lease(run: Run) -> NoReturn:
    """Renew until the run is cancelled or lost."""
    pause = run.ledger.rules.lease.total_seconds() / 3
    while True:
        await asyncio.sleep(pause)
        try:
            await run.renew()
        except StoreUnreachable as error:
            # The store is away for a moment. Either it comes back within the lease, or the
            # settle will be refused: the token decides, not this loop.
            log.warning("renew_failed", error=_words(error))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
