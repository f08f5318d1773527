from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta

import pytest

from nightshift.base.words import stamp
from nightshift.runs.states import done, failed, handed_back, skipped
from nightshift.store import pages
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer

COLUMNS = {"id", "source", "nominal", "state", "reason", "attempts", "cost", "queue", "created", "ended"}


async def test_open_runs_are_listed_first_and_then_ended_ones_newest_first(cli: Cli, stage: Stage) -> None:
    finished = await stage.run("first", outcome=done())
    await asyncio.sleep(0.002)  # instants are kept to the millisecond
    waiting = await stage.run("second")
    await asyncio.sleep(0.002)
    broken = await stage.run("third", outcome=failed("no model"))

    rows = answer(await cli("runs", "--json"))

    assert [row["id"] for row in rows] == [waiting, broken, finished]
    assert rows[0].keys() >= COLUMNS | {"started", "worker"}
    assert (rows[0]["state"], rows[0]["ended"]) == ("waiting", None)
    assert (rows[1]["state"], rows[1]["reason"], rows[1]["cost"]) == ("failed", "no model", 25)
    assert broken in (await cli("runs")).stdout
    assert [row["id"] for row in answer(await cli("runs", "--json", "--limit", "1"))] == [waiting]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--state", "done"), ["old", "job:digest"]),
        (("--state", "waiting", "--state", "failed"), ["open", "broken"]),
        (("--source", "broken"), ["broken"]),
        (("--source", "digest"), ["job:digest"]),  # by the job's name
        (("--since", "1h"), ["open", "broken", "job:digest"]),
        (("--source", "nothing"), []),
    ],
)
async def test_runs_are_found_by_state_source_and_time(
    cli: Cli, stage: Stage, words: tuple[str, ...], left: list[str]
) -> None:
    redis, keys = stage.ledger.redis, stage.ledger.keys
    old = await stage.run("old", outcome=done())
    ended = str(int((await store_now(redis) - timedelta(hours=2)).timestamp() * 1000))
    await redis.hset(keys.run(old), mapping={"ended": ended, "started": ended, "created": ended})
    await redis.zadd(keys.ended("done"), {old: int(ended)})
    await stage.run("job:digest", outcome=done())
    await stage.run("broken", outcome=failed("no model"))
    await stage.run("open")

    found = [row["source"] for row in answer(await cli("runs", "--json", *words))]
    assert sorted(found) == sorted(left)


async def test_a_search_that_stops_says_so(cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in ("a", "b", "c"):  # in this order even if they end in the same millisecond
        await stage.run(source, outcome=done())
    monkeypatch.setattr(pages, "FIRST_READ", 1)
    monkeypatch.setattr(pages, "LOOK_THROUGH", 2)
    stopped = await cli("runs", "--json", "--source", "a")
    monkeypatch.setattr(pages, "LOOK_THROUGH", 3)
    found = await cli("runs", "--json", "--source", "a")

    assert (answer(stopped), "Stopped after" in stopped.stderr) == ([], True)
    assert (len(answer(found)), found.stderr) == (1, "")


async def test_following_prints_changes_as_they_happened(cli: Cli, stage: Stage) -> None:
    run = await stage.run("news", outcome=done())
    await stage.run("weather")

    result = await cli("runs", "--follow", "--since", "1h", "--source", "news", "--limit", "3", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]

    assert [(each["id"], each["type"], each["state"]) for each in told] == [
        (run, "run_recorded", "waiting"),
        (run, "run_started", "running"),
        (run, "run_settled", "done"),
    ]
    assert (told[2]["cost"], told[2]["worker"]) == (25, "w@here")
    plain = await cli("runs", "--follow", "--since", "1h", "--state", "done", "--limit", "1")
    assert f"done     {run} in " in plain.stdout


async def test_a_run_tells_its_story(cli: Cli, stage: Stage) -> None:
    run = await stage.run("news", payload={"topic": "moon"})
    first = await stage.claim(run)
    await stage.ledger.renew(run, first.token, cost=3, checkpoint={"said": "hello"})
    await stage.ledger.settle(run, first.token, handed_back("worker stopped"), cost=5)
    second = await stage.claim(run)
    await stage.ledger.settle(run, second.token, done(read=2), cost=7)

    told = answer(await cli("runs", "show", run, "--json"))

    assert [line["what"] for line in told["story"]] == [
        "recorded", "claimed", "checkpoint", "returned", "claimed", "done",
    ]  # fmt: skip
    assert (told["cost"], told["costs"]) == (12, {"1": 5, "2": 7})
    assert (told["checkpoint"], told["result"], told["payload"]) == (
        {"said": "hello"},
        {"read": 2},
        {"topic": "moon"},
    )
    assert (told["worker"], told["task_id"], told["deadline_s"]) == ("w@here", "m1", 300)
    plain = (await cli("runs", "show", run)).stdout
    assert "returned worker stopped" in plain
    assert re.search(r"^checkpoint +said: hello$", plain, re.M)
    assert re.search(r"^result +read: 2$", plain, re.M)
    assert "$0.000005 by claim 1" in plain
    raw = answer(await cli("runs", "show", run, "--raw", "--json"))
    assert raw == await stage.ledger.redis.hgetall(stage.ledger.keys.run(run))
    assert f"id           {run}" in (await cli("runs", "show", run, "--raw")).stdout


async def test_what_a_run_leaves_is_told_plainly_and_on_one_line(cli: Cli, stage: Stage) -> None:
    result = {"said": "a\n\x1b[31mb", "down": {"local": 1}, "seen": ["ü"], "ok": True, "run": None}
    run = await stage.run("news", outcome=done(**result))
    (line,) = [
        each for each in (await cli("runs", "show", run)).stdout.splitlines() if each.startswith("result")
    ]
    assert line.removeprefix("result").strip() == (
        'said: a  [31mb, down: {"local": 1}, seen: ["ü"], ok: true, run: null'
    )


async def test_a_run_is_cancelled_once(cli: Cli, stage: Stage) -> None:
    run = await stage.run()
    assert (await cli("runs", "cancel", run)).exit_code == 0
    assert (await stage.ledger.get(run)).reason == "cancelled by hand"

    ended = await stage.run("other", outcome=done())
    again = await cli("runs", "cancel", ended)
    assert (again.exit_code, "has ended already" in again.stderr) == (1, True)


async def test_only_an_ended_run_is_requeued(cli: Cli, stage: Stage) -> None:
    run = await stage.run(outcome=skipped("cancelled"))
    assert (await cli("runs", "requeue", run)).exit_code == 0
    assert (await stage.ledger.get(run)).state == "waiting"

    refused = await cli("runs", "requeue", run)
    assert (refused.exit_code, f"{run} is waiting" in refused.stderr) == (1, True)


@pytest.mark.parametrize("command", ["show", "cancel", "requeue"])
async def test_a_run_that_is_not_there_is_named(cli: Cli, command: str) -> None:
    result = await cli("runs", command, "nothing@all")
    assert result.exit_code == 1
    assert "no run is called 'nothing@all'" in result.stderr


async def test_a_time_that_cannot_be_read_is_wrong_use(cli: Cli, stage: Stage) -> None:
    result = await cli("runs", "--since", "yesterday")
    assert (result.exit_code, "'yesterday' is no instant" in result.stderr) == (2, True)
    soon = stamp(await store_now(stage.ledger.redis) + timedelta(minutes=1))
    await stage.run()
    assert answer(await cli("runs", "--since", soon, "--json")) == []
