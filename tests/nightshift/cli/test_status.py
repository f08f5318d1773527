from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from nightshift import agents
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.controls.switches import KNOWN
from nightshift.deployment import process_settings
from nightshift.llm.breaker import Breaker
from nightshift.llm.keypool import NO_CREDIT, STRIKES, KeyPool, key_id
from nightshift.runs.states import done, failed
from nightshift.settings import Settings
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer


async def test_a_deployment_is_ready_when_beat_workers_and_pulse_are_there(cli: Cli, stage: Stage) -> None:
    await stage.everything()
    run = await stage.run()
    await stage.claim(run)

    result = await cli("status", "--json")
    told = answer(result)

    assert (result.exit_code, told["ready"], told["why"]) == (0, True, [])
    assert [each["name"] for each in told["processes"]] == ["beat@here:1", "w@here"]
    assert set(told["processes"][0]) == {"name", "kind", "pid", "host", "seen", "alive", "facts"}
    assert told["pulse"]["holder"] == "w@here/pulse"
    assert told["open"] == {"waiting": 0, "running": 1}
    assert told["switches"].keys() == KNOWN.keys()
    assert told["switches"]["chat_llm_enabled"] is True
    assert (await cli("status")).stdout.startswith("ready\n")


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("beat", "no beat is there"),
        ("lead", "no beat leads yet; beat@here:1 will"),
        ("queue", "no live worker consumes graph, io"),
        ("life", "no live worker consumes agents"),
        ("pulse", "nobody holds the pulse"),
    ],
)
async def test_what_is_missing_is_named(cli: Cli, stage: Stage, missing: str, told: str) -> None:
    await stage.everything()
    redis, keys = stage.ledger.redis, stage.ledger.keys
    match missing:
        case "beat":
            await redis.zrem(keys.processes, "beat@here:1")
        case "lead":
            await stage.beat(leads=False)
        case "queue":
            await stage.worker("control", "agents", "heartbeat", "memory")
        case "life":
            await stage.silence("w@here")
        case "pulse":
            await redis.hset(keys.shift, "until", 1)

    result = await cli("status", "--json")

    assert (result.exit_code, answer(result)["ready"]) == (1, False)
    (why,) = answer(result)["why"]
    assert why.startswith(told)
    assert told in (await cli("status")).stdout


async def test_waiting_ends_as_soon_as_it_is_ready(cli: Cli, stage: Stage) -> None:
    async def looks() -> int:
        told = await stage.ledger.redis.info("commandstats")
        return int(told.get("cmdstat_zcard", {}).get("calls", 0))

    before = await looks()
    waiting = asyncio.create_task(cli("status", "--wait", "20s"))
    while await looks() == before:
        await asyncio.sleep(0.01)
    await stage.everything()
    assert (await waiting).exit_code == 0


async def test_a_store_that_is_away_is_told_apart(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", "redis://127.0.0.1:1/0")
    as_json, plain = await cli("status", "--json"), await cli("status")

    assert (as_json.exit_code, plain.exit_code) == (3, 3)
    assert answer(as_json)["ready"] is False
    assert "check NIGHTSHIFT_STATE_URL" in answer(as_json)["why"][0]
    assert plain.stderr.startswith("Error: the state store does not answer")
    assert plain.stderr.count("\n") == 1


async def test_what_ended_today_and_its_cost_are_counted(cli: Cli, stage: Stage) -> None:
    await stage.run(outcome=done())
    await stage.run("weather", outcome=failed("no"))

    told = answer(await cli("status", "--json"))
    assert told["today"] == {"done": 1, "skipped": 0, "failed": 1, "cost": 50}
    assert told["counts"] == {"open": 0, "done": 1, "skipped": 0, "failed": 1}


async def test_bots_that_are_there_and_that_fell_silent_are_listed_and_keep_nobody_from_being_ready(
    cli: Cli, stage: Stage
) -> None:
    await stage.everything()
    assert "bot of" not in (await cli("status")).stdout
    redis, keys = stage.ledger.redis, stage.ledger.keys
    now, agent = await store_now(redis), agents.of(Settings(), "default")
    long_ago = AgentLiveness(redis, keys, clock=lambda: now - timedelta(hours=2))
    await long_ago.report(agent, Presence("matrix", "one", "@bot", now - timedelta(days=1)))
    channels = frozenset({"general"})
    await AgentLiveness(redis, keys).report(agent, Presence("discord", "one", "4711", now, channels))

    result = await cli("status", "--json")
    told = answer(result)
    assert (result.exit_code, told["ready"], told["why"]) == (0, True, [])
    listed = [(each["agent"], each["platform"], each["channels"], each["alive"]) for each in told["bots"]]
    assert listed == [("default", "discord", 1, True), ("default", "matrix", None, False)]
    assert set(told["bots"][0]) >= {"tenant", "process", "connected_since", "heard"}

    there, gone = (line for line in (await cli("status")).stdout.splitlines() if line.startswith("default "))
    assert "1 channel of discord" in there
    assert "all of matrix" in gone
    assert "gone, 2 h ago" in gone


async def test_an_open_breaker_and_keys_that_are_not_ok_are_warnings(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.everything()
    redis, keys = stage.ledger.redis, stage.ledger.keys
    monkeypatch.setenv("NIGHTSHIFT_ENDPOINTS__ROUTER__URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("NIGHTSHIFT_ENDPOINTS__ROUTER__KEY", "first second")
    process_settings.cache_clear()
    pool = KeyPool(redis, keys, lambda: ["first", "second"], "router")
    for _ in range(STRIKES):
        await pool.report(key_id("first"), NO_CREDIT, "flash")
    assert answer(await cli("status", "--json"))["warnings"] == [], "one key is ok"

    for _ in range(STRIKES):
        await pool.report(key_id("second"), NO_CREDIT, "flash")
    for _ in range(10):
        await Breaker(redis, keys).record("router", ok=False)
    result = await cli("status", "--json")
    assert (result.exit_code, answer(result)["ready"]) == (0, True)
    open_breaker, no_keys = answer(result)["warnings"]
    assert open_breaker.startswith("endpoint router: its breaker is open for ")
    assert no_keys == "endpoint router: 0 of 2 keys ok (2 invalid)"
    plain = (await cli("status")).stdout
    assert plain.startswith("ready\nwarning: endpoint router: its breaker is open for ")
    assert f"warning: {no_keys}\n" in plain


async def test_keys_that_cannot_be_read_are_a_warning(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.everything()
    monkeypatch.setenv("NIGHTSHIFT_ENDPOINTS__ROUTER__URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("NIGHTSHIFT_ENDPOINTS__ROUTER__KEYS_FILE", "no-such-file")
    process_settings.cache_clear()
    (warning,) = answer(await cli("status", "--json"))["warnings"]
    assert warning.startswith("endpoint router: no-such-file cannot be read")
