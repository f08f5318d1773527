from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from nightshift.base.errors import BadQuery
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.search import RunPlace, WantedRuns, read_runs
from nightshift.runs.states import ENDED, Outcome, State, done, failed, skipped
from nightshift.store import pages as pages_module
from tests.nightshift.runs.model import request

HOW = (done(), failed("broke"), skipped("quiet"))


async def fill(ledger: Ledger, now: datetime, *, ended: int, waiting: int) -> None:
    """Runs that ended in turn as each state, three in every instant, and runs that wait."""
    for n in range(ended):
        await end(ledger, f"ended-{n:03}", now, HOW[n % 3])
        row = await ledger.get(f"ended-{n:03}@2026-11-20T12:00:00Z")
        score = 1_000_000 + n // 3
        await ledger.redis.zadd(ledger.keys.ended(row.state), {row.id: score})
    for n in range(waiting):
        await ledger.record(request(f"open-{n:03}", now - timedelta(seconds=n // 2)))


async def end(ledger: Ledger, source: str, now: datetime, how: Outcome) -> None:
    wanted = request(source, now)
    await ledger.record(wanted)
    claimed = await ledger.claim(wanted.id, worker="w", message="m")
    assert isinstance(claimed, RunRow), claimed
    await ledger.settle(wanted.id, claimed.token, how)


async def pages(ledger: Ledger, wanted: WantedRuns, limit: int) -> list[list[str]]:
    found, after = [], None
    while True:
        page = await read_runs(ledger, wanted, limit=limit, after=after)
        found.append([row.source for row in page.rows])
        if page.next is None:
            return found
        after = RunPlace.parse(str(page.next))  # as whoever turns the page hands it back


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_put_together_are_every_run_once_in_order(
    ledger: Ledger, now: datetime, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "FIRST_READ", 2)
    await fill(ledger, now, ended=20, waiting=9)

    found = await pages(ledger, WantedRuns(), limit)

    together = [source for page in found for source in page]
    assert sorted(together) == sorted(
        {f"ended-{n:03}" for n in range(20)} | {f"open-{n:03}" for n in range(9)}
    )
    assert [source[:4] for source in together] == ["open"] * 9 + ["ende"] * 20
    instants = [int(source[-3:]) // 3 for source in together[9:]]
    assert instants == sorted(instants, reverse=True)
    assert all(len(page) == limit for page in found[:-1])


@pytest.mark.parametrize("state", ENDED)
async def test_a_page_of_one_state_holds_no_other(ledger: Ledger, now: datetime, state: State) -> None:
    await fill(ledger, now, ended=9, waiting=2)
    page = await read_runs(ledger, WantedRuns(states=(state,)), limit=100)
    assert [row.state for row in page.rows] == [state] * 3
    assert page.next is None


async def test_what_is_rare_is_found_over_several_pages_that_may_be_empty(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "LOOK_THROUGH", 5)
    await fill(ledger, now, ended=12, waiting=0)
    found = await pages(ledger, WantedRuns(sources=("ended-000",)), 10)
    assert found == [[], [], ["ended-000"]]


async def test_what_ended_before_is_not_even_looked_at(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "LOOK_THROUGH", 5)
    await fill(ledger, now, ended=12, waiting=0)
    for n in range(12):
        await ledger.redis.hset(ledger.keys.run(f"ended-{n:03}@2026-11-20T12:00:00Z"), "ended", 1_000_000)
    assert await pages(ledger, WantedRuns(since=now - timedelta(hours=1)), 10) == [[]]


async def test_a_run_of_another_tenant_is_on_no_page(ledger: Ledger, now: datetime) -> None:
    await ledger.record(request("theirs", now, tenant="b"))
    await ledger.record(request("ours", now, tenant="a"))
    assert await pages(ledger, WantedRuns(tenant="a"), 10) == [["ours"]]


async def test_a_run_that_is_dropped_between_two_pages_costs_no_other(ledger: Ledger, now: datetime) -> None:
    await fill(ledger, now, ended=9, waiting=0)
    first = await read_runs(ledger, WantedRuns(), limit=4)
    assert first.next is not None
    await ledger.redis.delete(ledger.keys.run(first.next.id))
    for state in ENDED:
        await ledger.redis.zrem(ledger.keys.ended(state), first.next.id)
    rest = await read_runs(ledger, WantedRuns(), limit=10, after=first.next)
    assert len(rest.rows) == 5


@pytest.mark.parametrize(
    "text", ["", "open", "ended:x:y", "ended:1:", "elsewhere:1:run", "ended:1e9:run", "ended:٣:run"]
)
def test_a_place_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="no place in this list"):
        RunPlace.parse(text)


async def test_a_run_that_ends_while_it_is_read_is_listed_once(ledger: Ledger, now: datetime) -> None:
    await end(ledger, "just", now, done())
    [row] = (await read_runs(ledger, WantedRuns(), limit=10)).rows
    await ledger.redis.zadd(ledger.keys.open, {row.id: 1})  # as one sees it who read this index just before
    for limit in (1, 10):
        assert await pages(ledger, WantedRuns(), limit) == [["just"]]
