from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from nightshift.base.words import stamp
from nightshift.runs.states import Outcome, done, failed
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer


async def test_a_job_shows_what_it_did_last_and_does_next(cli: Cli, stage: Stage) -> None:
    coming = (await store_now(stage.ledger.redis)).replace(microsecond=0) + timedelta(minutes=7, seconds=50)
    await stage.job(next=coming)
    (fresh,) = answer(await cli("jobs", "--json"))
    run = await stage.run("job:digest", outcome=failed("no model"))
    (after,) = answer(await cli("jobs", "--json"))
    again = await stage.run("job:digest", nominal=coming, lane="job:digest")
    (open_again,) = answer(await cli("jobs", "--json"))

    assert (fresh["last"], fresh["next"], fresh["cost_today"]) == (None, stamp(coming), 0)
    assert set(fresh) == {"name", "on", "why", "queue", "cadence", "last", "next", "cost_today"}
    assert (after["last"]["run"], after["last"]["state"]) == (run, "failed")
    assert (after["last"]["reason"], after["cost_today"]) == ("no model", 25)
    assert open_again["last"] == {"run": again, "state": "waiting", "ended": None, "reason": ""}
    assert "in 7 min" in (await cli("jobs")).stdout


async def test_a_job_that_is_off_says_why_and_has_no_next_slot(cli: Cli, stage: Stage) -> None:
    await stage.job(on=False, why="switch summaries is off")
    (job,) = answer(await cli("jobs", "--json"))
    assert (job["on"], job["why"], job["next"]) == (False, "switch summaries is off", None)
    assert "digest is off: switch summaries is off" in (await cli("jobs")).stdout


async def test_before_beat_has_been_there_the_list_is_empty_and_says_so(cli: Cli) -> None:
    result = await cli("jobs", "--json")
    assert (result.exit_code, answer(result)) == (0, [])
    assert "`nightshift beat`" in result.stderr


async def test_a_run_by_hand_takes_no_slots_place(cli: Cli, stage: Stage) -> None:
    await stage.job()
    redis, keys = stage.ledger.redis, stage.ledger.keys
    announced = await redis.zrange(f"{keys.beat_prefix}:schedule", 0, -1, withscores=True)

    result = await cli("jobs", "run", "digest")

    row = await stage.ledger.get(result.stdout.strip())
    assert row.id.startswith("job:digest@manual-")
    assert (row.source, row.task, row.queue) == ("job:digest", "tasks.digest", "memory")
    assert (row.lane, row.deadline) == ("job:digest", timedelta(minutes=1))
    assert "by hand" in row.story[0].detail
    assert await redis.zrange(f"{keys.beat_prefix}:schedule", 0, -1, withscores=True) == announced


@pytest.mark.parametrize(("outcome", "code"), [(done(), 0), (failed("no model"), 1)])
async def test_waiting_for_a_run_by_hand_ends_with_it(
    cli: Cli, stage: Stage, outcome: Outcome, code: int
) -> None:
    await stage.job()
    waiting = asyncio.create_task(cli("jobs", "run", "digest", "--wait", "--json"))
    while not (runs := await stage.ledger.open_runs()):
        await asyncio.sleep(0.01)
    claimed = await stage.claim(runs[0].id)
    await stage.ledger.settle(claimed.id, claimed.token, outcome)

    result = await waiting
    assert (result.exit_code, answer(result)["id"]) == (code, claimed.id)
    assert answer(result)["state"] == outcome.state


async def test_a_job_that_is_off_runs_by_hand_and_says_that_it_is_off(cli: Cli, stage: Stage) -> None:
    await stage.job(on=False, why="paused by ann")
    result = await cli("jobs", "run", "digest")
    assert "digest is off: paused by ann" in result.stderr
    assert await stage.ledger.find(result.stdout.strip())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "digset"), "no job is called 'digset'; did you mean 'digest'?"),
        (("pause", "digset"), "no job is called 'digset'"),
        (("resume", "digset"), "no job is called 'digset'"),
        (("run", "digest"), "digest is the pulse's own trigger"),  # it is not recorded
    ],
)
async def test_what_cannot_be_run_is_refused(
    cli: Cli, stage: Stage, words: tuple[str, ...], told: str
) -> None:
    await stage.job(recorded=False)
    result = await cli("jobs", *words)
    assert result.exit_code == 1
    assert told in result.stderr


async def test_a_paused_job_stays_paused_until_it_is_resumed(cli: Cli, stage: Stage) -> None:
    await stage.job()
    assert (await cli("jobs", "pause", "digest")).exit_code == 0
    paused = answer(await cli("switches", "--json"))["paused"]
    assert (await cli("jobs", "resume", "digest")).exit_code == 0

    assert list(paused) == ["digest"]
    assert "@" in paused["digest"], "who paused it"
    assert answer(await cli("switches", "--json"))["paused"] == {}
