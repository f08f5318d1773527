from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift import agents
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.base.refs import ChannelRef
from nightshift.base.words import clock, stamp
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import By, NewDelivery
from nightshift.deployment import process_settings
from nightshift.runs.ledger import Missed
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome, Overlap, done, failed, postponed, skipped
from nightshift.settings import Settings
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer


async def why(cli: Cli, *words: str) -> str:
    result = await cli("why", *words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


# Runs


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("switch", "Its queue memory is closed: the switch chat_llm_enabled is off"),
        ("worker", "No live worker consumes its queue memory"),
        ("full", "Every worker of its queue memory is full: w@here"),
        ("pulse", "Nobody holds the pulse"),
        ("lane", "is being carried out, and runs of digest go one after the other"),
        ("backlog", "2 messages wait for a worker in the queue memory"),
        ("none", "handed out once, last "),
    ],
)
async def test_a_waiting_run_says_what_it_waits_for(
    cli: Cli, stage: Stage, broker: Redis, trouble: str, told: str
) -> None:
    await stage.everything()
    if trouble == "lane":
        await stage.claim(await stage.run("before", lane="digest"))
    run = await stage.run("digest", queue="memory", lane="digest")
    await stage.ledger.look("w@here/pulse")
    match trouble:
        case "switch":
            await cli("switches", "set", "chat_llm_enabled", "off")
        case "worker":
            await stage.worker("io")
        case "full":
            await stage.worker(running=10)
        case "pulse":
            await stage.ledger.leave_shift("w@here/pulse")
        case "backlog":
            await broker.rpush("ns-broker:memory", "{}", "{}")

    first, *_ = (await why(cli, run)).splitlines()
    assert told in first


async def test_work_for_a_bot_says_whether_the_bot_is_there(cli: Cli, stage: Stage) -> None:
    await stage.everything()
    run = await stage.run("work:default:x", queue="pull", agent="default")
    (told,) = (await why(cli, run)).splitlines()
    assert told.startswith("It waits for the bot of agent default to ask for it, and is skipped in ")
    assert told.endswith("the bot is not there: it has given no sign of life of late.")

    now = await store_now(stage.ledger.redis)
    liveness = AgentLiveness(stage.ledger.redis, stage.ledger.keys)
    await liveness.report(agents.of(Settings(), "default"), Presence("discord", "one", "u", now))
    assert (await why(cli, run)).endswith("the bot is there, on discord (one).\n")


async def test_a_run_that_is_not_ready_or_came_back_says_so(cli: Cli, stage: Stage) -> None:
    await stage.everything()
    run = await stage.run()
    claimed = await stage.claim(run)
    later = postponed("RateLimited: come back", timedelta(minutes=5))
    await stage.ledger.settle(run, claimed.token, later)

    first, second, *_ = (await why(cli, run)).splitlines()
    assert first.startswith("It is not to start before")
    assert second == "It went back to waiting: RateLimited: come back."


async def test_a_broker_that_is_away_is_a_reason(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.everything()
    run = await stage.run()
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", "redis://127.0.0.1:1/0")
    process_settings.cache_clear()
    assert "The broker does not answer" in await why(cli, run)


async def test_a_running_run_says_who_carries_it_out(cli: Cli, stage: Stage) -> None:
    await stage.everything()
    run = await stage.run()
    await stage.claim(run)
    assert "w@here carries it out since" in await why(cli, run)
    await stage.silence("w@here")
    assert "w@here gives no sign of life; somebody else takes it over" in await why(cli, run)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (done(), "It is done since"),
        (skipped("nothing new"), ": nothing new."),
        (failed("no model"), ": no model; `nightshift runs requeue"),
    ],
)
async def test_an_ended_run_says_how_it_ended(cli: Cli, stage: Stage, outcome: Outcome, told: str) -> None:
    assert told in await why(cli, await stage.run(outcome=outcome))


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("bot", "requested: waits for the agent's bot to ask for it; no bot of agent night has asked within"),
        ("us", "requested.\n`nightshift why delivery:"),
    ],
)
async def test_a_run_that_wants_something_said_tells_what_became_of_that(
    cli: Cli, stage: Stage, by: By, told: str
) -> None:
    redis, keys = stage.ledger.redis, stage.ledger.keys
    wanted = NewDelivery("heartbeat:a@1", ChannelRef("chat", "general"), "good night", by=by, agent="night")
    delivery = await Deliveries(redis, keys, Switches(redis, keys, Settings())).request(wanted)
    run = await stage.run(outcome=done(delivery=delivery.id))
    first, _, others = (await why(cli, run)).partition("\n")
    assert first.startswith("It is done since")
    assert others.startswith(f"Its delivery {delivery.id} is {told}")

    gone = await stage.run("other", outcome=done(delivery="gone/0"))
    assert (await why(cli, gone)).endswith("Its delivery gone/0 is no longer kept.\n")


# Jobs


async def slot_before(stage: Stage, hours: int) -> datetime:
    """A slot of the hourly job; its grid was laid two days ago."""
    grid = (await store_now(stage.ledger.redis) - timedelta(days=2)).replace(microsecond=0)
    await stage.job(anchor=grid)
    return grid + timedelta(days=2) - timedelta(hours=hours)


def request(slot: datetime) -> RunRequest:
    return RunRequest(
        run_id("job:digest", slot), "job:digest", slot, "tasks.digest", "memory",
        lane="job:digest", overlap=Overlap.SKIP,
    )  # fmt: skip


async def test_a_slot_that_ran_names_its_run_and_what_it_cost(cli: Cli, stage: Stage) -> None:
    slot = await slot_before(stage, 0)
    run = await stage.run("job:digest", nominal=slot, outcome=done())
    told = await why(cli, "digest")
    assert told.startswith("digest is on: every hour.")
    assert f"Its slot of {clock(slot)} ran and is done; it cost $0.000025 (run {run})." in told
    assert "Its next slot is" in told
    as_json = answer(await cli("why", "digest", "--json"))
    assert as_json["says"][0] == "digest is on: every hour."
    assert (as_json["run"], as_json["state"], as_json["slot"]) == (run, "done", stamp(slot))


async def test_a_slot_that_was_skipped_names_the_rule(cli: Cli, stage: Stage) -> None:
    slot = await slot_before(stage, 0)
    await stage.ledger.record(request(slot - timedelta(hours=1)))
    assert await stage.ledger.record(request(slot)) == "skipped"

    by_id_its_run_would_have_had = run_id("job:digest", slot)
    for subject in ("digest", by_id_its_run_would_have_had):
        assert f"Its slot of {clock(slot)} was skipped by the rule overlap" in await why(cli, subject)


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (6, "left no run"),  # the slot before those that were missed
        (5, "was missed with 3 others"),
        (3, "was missed with 3 others"),
        (2, "was missed with 3 others"),
        (1, "left no run"),
    ],
)
async def test_a_slot_that_was_missed_names_the_range(cli: Cli, stage: Stage, hours: int, told: str) -> None:
    newest = await slot_before(stage, 0)
    first, last = newest - timedelta(hours=5), newest - timedelta(hours=2)
    await stage.ledger.record(missed=Missed("job:digest", 4, first, last))

    at = stamp(newest - timedelta(hours=hours))
    says = await why(cli, "digest", "--at", at)
    assert f"Its slot of {clock(newest - timedelta(hours=hours))} {told}" in says


async def test_an_instant_between_slots_before_the_first_or_to_come_is_told_apart(
    cli: Cli, stage: Stage
) -> None:
    slot = await slot_before(stage, 0)
    between, before, after = (
        slot - timedelta(minutes=30),
        slot - timedelta(days=3),
        slot + timedelta(minutes=90),
    )
    assert f"No slot of it falls on {clock(between)}; the one before" in await why(
        cli, "digest", "--at", stamp(between)
    )
    assert f"It had no slot by {clock(before)}." in await why(cli, "digest", "--at", stamp(before))
    first_then = clock(slot + timedelta(hours=2))
    assert f"has not come yet; its first slot from then on is {first_then}" in await why(
        cli, "digest", "--at", stamp(after)
    )


async def test_a_job_that_is_off_says_why(cli: Cli, stage: Stage) -> None:
    await stage.job(on=False, why="switch summaries is off")
    assert (await why(cli, "digest")).startswith("digest is off: switch summaries is off.\n")


async def test_what_is_neither_run_nor_job_is_named(cli: Cli, stage: Stage) -> None:
    await stage.job()
    for subject in ("nothing", "nothing@all", "job:digest@manual-00000000"):
        result = await cli("why", subject)
        assert (result.exit_code, f"'{subject}' is neither" in result.stderr) == (1, True)
    assert (await cli("why", "digest", "--at", "noon")).exit_code == 2
