"""The scripts and ``Keys`` name the same things."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from nightshift.base.instants import to_ms
from nightshift.runs.ledger import Advance, Ledger, Missed
from nightshift.runs.states import Overlap, done, failed, skipped
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock, request


async def test_every_key_the_scripts_leave_is_one_that_keys_builds(
    redis: Redis, keys: Keys, now: datetime
) -> None:
    clock = Clock(now)
    ledger = Ledger(redis, keys, clock=clock)
    left: set[str] = set()

    async def note() -> None:
        left.update([key async for key in redis.scan_iter(f"{keys.prefix}*")])

    source, slots = "news", [now + timedelta(minutes=minute) for minute in range(3)]
    clock.now = slots[-1]
    await redis.zadd(keys.due, {source: to_ms(now)})
    await redis.hset(keys.schedule(source), "task", "tasks.work")
    for slot, end in zip(slots, (done(), skipped("nothing new"), failed("refused")), strict=True):
        advance = Advance(keys.due, source, to_ms(slot), to_ms(slot) + 60_000, keys.schedule(source))
        missed = Missed(source, 1, now, now)
        run = request(source, slot, lane="agent", overlap=Overlap.SKIP)
        assert await ledger.record(run, advance=advance, missed=missed) == "recorded"
        assert await ledger.record(
            request(source, slot + timedelta(seconds=1), lane="agent", overlap=Overlap.SKIP)
        )
        await note()
        await ledger.look("pulse")
        claimed = await ledger.claim(run.id, worker="w", message="m")
        assert not isinstance(claimed, str)
        await note()
        await ledger.renew(run.id, claimed.token, checkpoint={})
        await ledger.settle(run.id, claimed.token, end)
        await note()

    assert left == {
        *(keys.run(request(source, slot).id) for slot in slots),
        keys.schedule(source),
        keys.due,
        keys.open,
        keys.lane("agent"),
        keys.shift,
        *(keys.ended(state) for state in ("done", "skipped", "failed")),
        keys.tally((now - datetime(1970, 1, 1, tzinfo=now.tzinfo)).days),
        keys.total,
        keys.tenants,
        keys.inflight(run.queue, run.tenant),
        keys.skips(source),
        keys.events,
    }
    row = await redis.hgetall(keys.schedule(source))
    assert (row["last_run"], row["last_state"]) == (run.id, "failed")


def test_a_run_is_named_alike_however_its_instant_is_written(now: datetime) -> None:
    assert request("news", now).id == "news@2026-11-20T12:00:00Z"
    assert request("news", now.astimezone(ZoneInfo("Asia/Kolkata"))).id == request("news", now).id
    assert request("news", now + timedelta(milliseconds=5)).id == "news@2026-11-20T12:00:00.005Z"
