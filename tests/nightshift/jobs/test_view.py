from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nightshift.base.errors import UnknownJob
from nightshift.controls.switches import Switches
from nightshift.jobs.by_hand import pause_job, resume_job
from nightshift.jobs.table import JobStatus, store_table
from nightshift.jobs.view import next_slot, read_jobs, view_job
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import State, failed
from nightshift.settings import Settings
from nightshift.store.client import store_now
from tests.nightshift.runs.model import request

DIGEST = JobStatus("digest", True, "", "tasks.digest", "memory", "every hour", 60.0, True)


async def store(ledger: Ledger, *names: str) -> None:
    changing = ledger.redis.pipeline()
    store_table(changing, ledger.keys, [replace(DIGEST, name=name) for name in names])
    await changing.execute()


async def end(ledger: Ledger, job: str, *, cost: int) -> str:
    wanted = request(f"job:{job}", await store_now(ledger.redis), lane=f"job:{job}")
    await ledger.record(wanted)
    claimed = await ledger.claim(wanted.id, worker="w", message="m")
    assert isinstance(claimed, RunRow), claimed
    await ledger.settle(wanted.id, claimed.token, failed("no model"), cost=cost)
    return wanted.id


@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_pages_put_together_are_every_job_once_by_name(ledger: Ledger, limit: int) -> None:
    names = ["a", "a-b", "a.b", "aa", "é", "z", "Z"]
    await store(ledger, *names)
    found: list[str] = []
    while page := await read_jobs(ledger, after=found[-1] if found else "", limit=limit):
        assert len(page) <= limit
        found += [job.name for job in page]
    assert found == sorted(names, key=str.encode)
    assert [job.name for job in await read_jobs(ledger)] == found


async def test_a_page_costs_the_same_round_trips_however_many_jobs_are_on_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(ledger, *(f"job-{n:03}" for n in range(50)))
    trips = []
    made: Any = ledger.redis.connection_pool.get_connection

    async def counted(*words: Any, **how: Any) -> Any:
        trips.append(words)
        return await made(*words, **how)

    monkeypatch.setattr(ledger.redis.connection_pool, "get_connection", counted)
    for limit in (1, 50):
        trips.clear()
        assert len(await read_jobs(ledger, limit=limit)) == limit
        assert len(trips) <= 5


async def test_a_job_shows_its_open_run_or_else_the_one_that_ended_last_and_todays_cost(
    ledger: Ledger,
) -> None:
    await store(ledger, "digest", "quiet")
    ended = await end(ledger, "digest", cost=25)
    after = await view_job(ledger, "digest")
    nominal = await store_now(ledger.redis) + timedelta(minutes=1)
    again = request("job:digest", nominal, lane="job:digest")
    await ledger.record(again)
    open, quiet = await read_jobs(ledger)

    assert after.last
    assert (after.last.run, after.last.state, after.last.reason) == (ended, State.FAILED, "no model")
    assert after.last.ended
    assert (after.cost_today, open.cost_today, quiet.cost_today) == (25, 25, 0)
    assert open.last
    assert (open.last.run, open.last.state, open.last.ended) == (again.id, State.WAITING, None)
    assert quiet.last is None


async def test_only_a_slot_that_beat_announced_comes_next(ledger: Ledger) -> None:
    await store(ledger, "digest")
    before = await view_job(ledger, "digest")
    coming = (await store_now(ledger.redis)).replace(microsecond=0) + timedelta(hours=1)
    row = f"{ledger.keys.beat_prefix}digest"
    await ledger.redis.zadd(ledger.keys.beat_index, {row: coming.timestamp()})
    assert (before.next, (await view_job(ledger, "digest")).next) == (None, coming)
    assert await next_slot(ledger, "digest") == coming


async def test_an_unknown_job_is_told_from_known_ones(ledger: Ledger) -> None:
    await store(ledger, "digest")
    with pytest.raises(UnknownJob, match="did you mean 'digest'"):
        await view_job(ledger, "digset")


# By hand


async def test_pausing_and_resuming_is_told_with_who_did_it(ledger: Ledger) -> None:
    await store(ledger, "digest")
    switches = Switches(ledger.redis, ledger.keys, Settings())
    await pause_job(ledger, switches, "digest", by="ann")
    paused = (await switches.read()).paused
    await resume_job(ledger, switches, "digest", by="bob")

    told: Any = await ledger.redis.xrange(ledger.keys.events)
    assert [(event["type"], event["source"], event["by"]) for _, event in told] == [
        ("job_paused", "job:digest", "ann"),
        ("job_resumed", "job:digest", "bob"),
    ]
    assert (paused, (await switches.read()).paused) == ({"digest": "ann"}, {})


async def test_a_job_that_left_the_table_while_paused_can_be_resumed_and_no_other_unknown_one(
    ledger: Ledger,
) -> None:
    await store(ledger, "digest")
    switches = Switches(ledger.redis, ledger.keys, Settings())
    await pause_job(ledger, switches, "digest", by="ann")
    await store(ledger, "other")
    await resume_job(ledger, switches, "digest", by="ann")
    with pytest.raises(UnknownJob):
        await resume_job(ledger, switches, "digest", by="ann")
    with pytest.raises(UnknownJob):
        await pause_job(ledger, switches, "digest", by="ann")
    assert (await switches.read()).paused == {}
