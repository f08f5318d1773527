from __future__ import annotations

from datetime import timedelta

import pytest

from nightshift.runs.states import State, done, failed
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer


@pytest.fixture
async def old(stage: Stage) -> str:
    """A run that failed two days ago."""
    redis, keys = stage.ledger.redis, stage.ledger.keys
    run = await stage.run("old", outcome=failed("no model"))
    ended = int((await store_now(redis) - timedelta(days=2)).timestamp() * 1000)
    await redis.hset(keys.run(run), "ended", str(ended))
    await redis.zadd(keys.ended("failed"), {run: ended})
    return run


@pytest.fixture
async def fresh(stage: Stage) -> str:
    return await stage.run("fresh", outcome=failed("no model"))


async def states(stage: Stage, *runs: str) -> list[State]:
    return [(await stage.ledger.get(run)).state for run in runs]


async def test_failed_runs_are_listed_newest_first(cli: Cli, stage: Stage, old: str, fresh: str) -> None:
    await stage.run("fine", outcome=done())
    assert [row["id"] for row in answer(await cli("dead", "--json"))] == [fresh, old]
    for words in (("dead",), ("dead", "list")):
        assert "no model" in (await cli(*words)).stdout


async def test_a_fresh_failure_is_replayed_at_once(cli: Cli, stage: Stage, fresh: str) -> None:
    result = await cli("dead", "replay", fresh, "--json")
    assert [row["state"] for row in answer(result)] == ["waiting"]
    assert await states(stage, fresh) == ["waiting"]


async def test_an_old_failure_is_replayed_only_when_confirmed(
    cli: Cli, stage: Stage, old: str, fresh: str
) -> None:
    refused = await cli("dead", "replay", "--all")
    assert refused.exit_code == 1
    assert "1 of these 2 runs failed more than a day ago, the first 2 d ago" in refused.stderr
    assert await states(stage, old, fresh) == ["failed", "failed"]

    shown = await cli("dead", "replay", "--all", "--dry-run")
    assert (old in shown.stdout, fresh in shown.stdout) == (True, True)
    assert await states(stage, old, fresh) == ["failed", "failed"]

    assert (await cli("dead", "replay", "--all", "--older-than", "1d", "--yes")).exit_code == 0
    assert await states(stage, old, fresh) == ["waiting", "failed"]


async def test_what_is_not_dead_is_not_replayed(cli: Cli, stage: Stage) -> None:
    fine = await stage.run("fine", outcome=done())
    refused, nothing = await cli("dead", "replay", fine), await cli("dead", "replay", "--all")
    assert (refused.exit_code, "is done, not failed" in refused.stderr) == (1, True)
    assert (nothing.exit_code, nothing.stderr) == (0, "0 failed runs wait again\n")


@pytest.mark.parametrize("words", [(), ("some", "--all")])
async def test_runs_are_either_named_or_all(cli: Cli, words: tuple[str, ...]) -> None:
    result = await cli("dead", "replay", *words)
    assert (result.exit_code, "name the runs to replay, or give --all" in result.stderr) == (2, True)
