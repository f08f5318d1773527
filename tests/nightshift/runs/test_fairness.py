"""A tenant with much to do does not keep the others waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import Rules, done, handed_back, postponed
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock, request

SHARE = 3


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def ledger(redis: Redis, keys: Keys, clock: Clock) -> Ledger:
    return Ledger(redis, keys, Rules(share=SHARE), clock=clock)


async def record(ledger: Ledger, tenant: str, count: int, now: datetime, queue: str = "agents") -> None:
    for n in range(count):
        await ledger.record(replace(request(f"{tenant}-{n}", now, queue=queue), tenant=tenant))


async def hinted(ledger: Ledger, limit: int = 500) -> list[str]:
    return [hint.run_id.partition("@")[0] for hint in (await ledger.look("pulse", limit=limit)).hints]


async def test_a_tenant_alone_has_all_there_is(ledger: Ledger, now: datetime) -> None:
    await record(ledger, "loud", 20, now)
    assert len(await hinted(ledger)) == 20


async def test_among_others_a_tenant_has_its_share_of_each_queue_and_the_others_do_not_wait(
    ledger: Ledger, now: datetime
) -> None:
    await record(ledger, "loud", 20, now)
    await record(ledger, "calm", 2, now)

    found = await hinted(ledger)
    assert sorted(each for each in found if each.startswith("calm")) == ["calm-0", "calm-1"]
    assert len(found) == 2 + SHARE


async def test_what_waits_in_line_is_handed_out_in_order_as_runs_of_its_tenant_end_or_return(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    await record(ledger, "loud", 6, now)
    await record(ledger, "calm", 1, now)
    first = [each for each in await hinted(ledger) if each != "calm-0"]
    assert first == ["loud-0", "loud-1", "loud-2"]

    for source, outcome in (("loud-0", done()), ("loud-1", handed_back("worker stopped"))):
        claimed = await ledger.claim(f"{source}@2026-11-20T12:00:00Z", worker="w", message="m")
        assert isinstance(claimed, RunRow)
        assert await hinted(ledger) == []  # what is carried out counts as well as what is hinted
        await ledger.settle(claimed.id, claimed.token, outcome)
        clock.now += timedelta(milliseconds=50)
        assert len(await hinted(ledger)) == 1
    clock.now += timedelta(milliseconds=50)
    assert await hinted(ledger) == []


async def test_a_run_that_was_told_to_come_back_later_keeps_no_place_meanwhile(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    await record(ledger, "loud", SHARE + 1, now)
    await record(ledger, "calm", 1, now)
    await hinted(ledger)
    claimed = await ledger.claim("loud-0@2026-11-20T12:00:00Z", worker="w", message="m")
    assert isinstance(claimed, RunRow)
    await ledger.settle(claimed.id, claimed.token, postponed("too many requests", timedelta(minutes=5)))
    clock.now += timedelta(milliseconds=50)
    assert await hinted(ledger) == [f"loud-{SHARE}"]


async def test_a_run_that_is_hinted_again_needs_no_new_place(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    await record(ledger, "loud", SHARE, now)
    await record(ledger, "calm", 1, now)
    await hinted(ledger)
    clock.now += Rules().hint_again
    assert len(await hinted(ledger)) == SHARE + 1


async def test_a_long_line_is_looked_at_a_few_runs_at_a_time(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    await record(ledger, "loud", 200, now)
    await record(ledger, "calm", 1, now)
    await hinted(ledger)
    entries: Any = await ledger.redis.zrange(ledger.keys.open, 0, -1, withscores=True)
    scores = [at for _, at in entries]
    coming = [at - scores[0] for at in scores if at < scores[0] + 1_000]
    assert max(coming.count(at) for at in coming) <= 25
    assert len(set(coming)) > 6


async def test_once_the_others_have_nothing_to_do_for_a_while_the_share_no_longer_counts(
    ledger: Ledger, clock: Clock, now: datetime
) -> None:
    await record(ledger, "calm", 1, now)
    await record(ledger, "loud", 20, now)
    await hinted(ledger)
    clock.now += timedelta(minutes=11)
    assert len([each for each in await hinted(ledger) if each.startswith("loud")]) == 20
