from __future__ import annotations

from datetime import datetime, timedelta

from redis.asyncio import Redis

from nightshift.runs.ledger import Ledger
from nightshift.runs.retention import forget_old_runs
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome, State, done, failed
from nightshift.store.keys import Keys

DAY = timedelta(days=1)


async def test_ended_runs_are_forgotten_by_age_and_state_and_open_ones_never(
    redis: Redis, keys: Keys, now: datetime
) -> None:
    async def end(name: str, at: datetime, outcome: Outcome | None) -> str:
        ledger = Ledger(redis, keys, clock=lambda: at)
        request = RunRequest(run_id(name, at), name, at, "t", "io")
        await ledger.record(request)
        if outcome:
            claimed = await ledger.claim(request.id, worker="w", message="m")
            assert not isinstance(claimed, str)
            await ledger.settle(request.id, claimed.token, outcome)
        return request.id

    long_done = await end("long done", now - 15 * DAY, done())
    just_done = await end("just done", now - 13 * DAY, done())
    long_failed = await end("long failed", now - 91 * DAY, failed("x"))
    kept_failed = await end("kept failed", now - 15 * DAY, failed("x"))
    waiting = await end("still waiting", now - 400 * DAY, None)

    ledger = Ledger(redis, keys)
    keep = {State.DONE: 14 * DAY, State.FAILED: 90 * DAY}
    assert await forget_old_runs(ledger, now=now, keep=keep) == {"done": 1, "failed": 1}
    assert await forget_old_runs(ledger, now=now, keep=keep) == {"done": 0, "failed": 0}

    left = [long_done, just_done, long_failed, kept_failed, waiting]
    assert [row.id for row in await ledger.rows(left)] == [just_done, kept_failed, waiting]
    tally = await ledger.tally((now - 15 * DAY).date())
    assert tally["long done", "done"] == 1  # the count outlives the row
