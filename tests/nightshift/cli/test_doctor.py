from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from redis.asyncio import Redis

from nightshift import agents
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.deployment import process_settings
from nightshift.llm import endpoints
from nightshift.llm.breaker import Breaker
from nightshift.llm.keypool import QUOTA_EXHAUSTED, KeyPool, key_id
from nightshift.processes.signs_of_life import report
from nightshift.runs.states import failed
from nightshift.settings import Settings
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import HANG, OtherSide, Reply


@pytest.fixture
async def sound(stage: Stage, redis: Redis) -> AsyncIterator[Stage]:
    """A deployment that lacks nothing; the server's own settings are put back."""
    await stage.everything()
    await stage.job()
    before = await redis.config_get("maxmemory*")
    yield stage
    for name in ("maxmemory", "maxmemory-policy"):
        await redis.config_set(name, str(before[name]))


def leave_open(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o755)


def shorten_visibility(file: Path) -> None:
    file.write_text("[celery.broker_transport_options]\nvisibility_timeout = 60")


async def checks(cli: Cli, *, code: int) -> dict[str, dict[str, Any]]:
    result = await cli("doctor", "--json")
    told = answer(result)
    assert (result.exit_code, told["ok"]) == (code, code == 0), result.stdout
    return {check["name"]: check for check in told["checks"]}


async def test_a_sound_deployment_fails_no_check(cli: Cli, sound: Stage) -> None:
    told = await checks(cli, code=0)
    # The tests' Redis keeps no file, and who runs the tests may be root.
    assert {name for name, check in told.items() if check["verdict"] != "ok"} <= {"persistence", "user"}
    assert all(check["fix"] for check in told.values() if check["verdict"] != "ok")
    assert "beat@here:1 leads" in told["beat"]["says"]
    assert (await cli("doctor")).stdout.startswith("ok    python")


@pytest.mark.parametrize(
    ("trouble", "fix"),
    [
        ("home", "chmod 700"),
        ("eviction", "CONFIG SET maxmemory-policy noeviction"),
        ("clock", "synchronise"),
        ("broker", "check NIGHTSHIFT_BROKER_URL"),
        ("graph", "check NIGHTSHIFT_GRAPH_URL"),
        ("beat", "`nightshift beat`"),
        ("pulse", "`nightshift worker --role control`"),
        ("queues", "`nightshift worker`"),
        ("visibility", "visibility_timeout above 60"),
        ("job", "mend the row"),
        ("schedule", "mend the row"),
    ],
)
async def test_what_is_wrong_is_found_with_its_fix(
    cli: Cli, sound: Stage, monkeypatch: pytest.MonkeyPatch, redis_socket: Path, trouble: str, fix: str
) -> None:
    redis, keys = sound.ledger.redis, sound.ledger.keys
    travel = timedelta(0)
    match trouble:
        case "home":
            leave_open(Path("home/secrets"))
        case "eviction":
            await redis.config_set("maxmemory-policy", "allkeys-lru")
        case "clock":
            travel = timedelta(seconds=5)
        case "broker":
            monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", "redis://127.0.0.1:1/0")
        case "graph":  # a Redis without FalkorDB
            monkeypatch.setenv("NIGHTSHIFT_GRAPH_URL", f"unix://{redis_socket}?db=9")
        case "beat":
            await redis.delete(f"{keys.beat_prefix}:lock")
        case "pulse":
            await sound.ledger.leave_shift("w@here/pulse")
        case "queues":
            await sound.worker("io")
        case "visibility":
            shorten_visibility(Path("nightshift.toml"))
        case "job":
            await sound.job(on=False, why="[jobs.digest] in nightshift.toml cannot be kept", broken=True)
        case "schedule":
            await redis.hset(keys.schedule("reminder"), "quarantined", "ValueError: bad")

    with time_machine.travel(datetime.now(UTC) + travel):
        told = await checks(cli, code=1)

    (wrong,) = (name for name, check in told.items() if check["verdict"] == "fail")
    assert wrong == ("rows" if trouble in ("job", "schedule") else trouble)
    assert fix in told[wrong]["fix"]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("memory", "raise maxmemory"),
        ("dead runs", "`nightshift dead` lists them"),
        ("restarts", "logs/NAME.log"),
    ],
)
async def test_what_only_deserves_a_look_is_a_warning(
    cli: Cli, sound: Stage, trouble: str, told: str
) -> None:
    redis, keys = sound.ledger.redis, sound.ledger.keys
    match trouble:
        case "memory":
            used = (await redis.info("memory"))["used_memory"]
            await redis.config_set("maxmemory", int(used * 1.2))
        case "dead runs":
            await sound.run(outcome=failed("no model"))
        case "restarts":
            child = {"name": "worker", "state": "running", "restarts": 1, "last_exit": "signal 9 (Killed)"}
            await report(redis, keys, "supervisor@here:1", "supervisor", {"children": [child]})

    check = (await checks(cli, code=0))[trouble]
    assert (check["verdict"], told in check["fix"]) == ("warn", True)


async def test_each_platform_is_asked_whether_it_knows_us(
    cli: Cli, sound: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("syt_hunter2")
    token.chmod(0o644)
    async with OtherSide().listening() as other_side:
        other_side.answer("GET", "*", Reply(shapes.MATRIX_WHOAMI))
        described = {"kind": "matrix", "url": other_side.url, "token_file": str(token)}
        for name, value in described.items():
            monkeypatch.setenv(f"NIGHTSHIFT_PLATFORMS__HOUSE__{name.upper()}", value)
        process_settings.cache_clear()
        check = (await checks(cli, code=0))["platform house"]
        assert (check["verdict"], check["fix"]) == ("warn", f"`chmod 600 {token}`")

        token.chmod(0o600)
        check = (await checks(cli, code=0))["platform house"]
        assert (check["verdict"], check["says"]) == ("ok", "ready, as @bot:example.org")

        other_side.answer("GET", "*", Reply(shapes.MATRIX_UNKNOWN_TOKEN, 401))
        check = (await checks(cli, code=1))["platform house"]
        assert "check the token in [platforms.house]" in check["says"]
        assert "[platforms.house]" in check["fix"]


def describe_endpoint(monkeypatch: pytest.MonkeyPatch, name: str, **described: str) -> None:
    for setting, value in described.items():
        monkeypatch.setenv(f"NIGHTSHIFT_ENDPOINTS__{name}__{setting}".upper(), value)
    process_settings.cache_clear()


async def test_each_endpoint_of_a_model_is_asked_whether_it_is_there_and_nothing_that_costs(
    cli: Cli, sound: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "there is none" in (await checks(cli, code=0))["endpoints"]["says"]
    async with OtherSide().listening() as router, OtherSide().listening() as desk:
        router.answer("GET", "/v1/models", Reply({"error": {"message": "no key"}}, 401))
        desk.answer("GET", "/v1/models", Reply({"data": []}))
        describe_endpoint(monkeypatch, "router", url=f"{router.url}/v1", key="sk-one sk-two")
        describe_endpoint(monkeypatch, "desk", url=f"{desk.url}/v1")
        told = await checks(cli, code=0)
        assert told["endpoint router"]["says"] == "it answers; its breaker is closed; 2 of 2 keys ok"
        assert told["endpoint desk"]["says"] == "it answers; its breaker is closed; it asks for no key"
        assert {told[f"endpoint {name}"]["verdict"] for name in ("router", "desk")} == {"ok"}
        assert {(each.method, each.path) for each in router.asked + desk.asked} == {("GET", "/v1/models")}
        assert "sk-" not in str([*router.asked, *desk.asked])


async def test_a_breaker_that_is_open_and_keys_that_rest_are_told_of_an_endpoint_that_answers(
    cli: Cli, sound: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, keys = sound.ledger.redis, sound.ledger.keys
    async with OtherSide().listening() as router:
        describe_endpoint(monkeypatch, "router", url=f"{router.url}/v1", key="sk-one")
        for _ in range(10):
            await Breaker(redis, keys).record("router", ok=False)
        check = (await checks(cli, code=0))["endpoint router"]
        assert (check["verdict"], "its breaker is open for " in check["says"]) == ("warn", True)
        assert "tried again by itself" in check["fix"]

        pool = KeyPool(redis, keys, lambda: ["sk-one"], "router")
        await pool.report(key_id("sk-one"), QUOTA_EXHAUSTED, "flash")
        check = (await checks(cli, code=0))["endpoint router"]
        assert (check["verdict"], "0 of 1 keys ok (1 exhausted for flash)" in check["says"]) == ("warn", True)
        assert "give [endpoints.router] a key" in check["fix"]

        describe_endpoint(monkeypatch, "router", keys_file="nowhere")
        check = (await checks(cli, code=1))["endpoint router"]
        assert (check["verdict"], "nowhere cannot be read" in check["says"]) == ("fail", True)


async def test_an_endpoint_that_does_not_answer_is_found(
    cli: Cli, sound: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = endpoints.endpoint_resource
    monkeypatch.setattr(
        endpoints,
        "endpoint_resource",
        lambda name, described: replace(quick(name, described), answer_within=timedelta(seconds=0.2)),
    )
    async with OtherSide().listening() as hung:
        hung.answer("GET", "*", HANG)
        monkeypatch.setenv("NIGHTSHIFT_MODEL__URL", "http://127.0.0.1:1/v1")
        describe_endpoint(monkeypatch, "hung", url=f"{hung.url}/v1")
        told = await checks(cli, code=1)
    dead, late = told["endpoint main"], told["endpoint hung"]
    assert (dead["verdict"], late["verdict"]) == ("fail", "fail")
    assert dead["says"].startswith("it does not answer: Cannot connect to host 127.0.0.1:1")
    assert dead["fix"] == "see whether it is up, or mend [model] in nightshift.toml"
    assert late["says"].startswith("it does not answer within 0.2 s; its breaker is closed")
    assert "[endpoints.hung]" in late["fix"]


async def test_bots_are_listed_and_one_that_has_gone_is_a_warning(cli: Cli, sound: Stage) -> None:
    assert "no agent's own bot" in (await checks(cli, code=0))["bots"]["says"]
    redis, keys = sound.ledger.redis, sound.ledger.keys
    now, agent = await store_now(redis), agents.of(Settings(), "default")
    long_ago = AgentLiveness(redis, keys, clock=lambda: now - timedelta(hours=2))
    await long_ago.report(agent, Presence("matrix", "a", "@bot", now - timedelta(days=1)))
    await AgentLiveness(redis, keys).report(agent, Presence("discord", "b", "4711", now))
    told = await checks(cli, code=0)
    there, gone = told["bot of default (discord b)"], told["bot of default (matrix a)"]
    assert (there["verdict"], there["says"].startswith("it serves all of discord, connected ")) == (
        "ok",
        True,
    )
    assert (gone["verdict"], gone["says"]) == (
        "warn",
        "it is gone, last heard 2 h ago; it served all of matrix",
    )
    assert "docs/adopt.md" in gone["fix"]


async def test_a_store_that_is_away_and_settings_that_cannot_be_read_are_findings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", "redis://127.0.0.1:1/0")
    away = await checks(cli, code=1)
    assert (away["store"]["verdict"], "NIGHTSHIFT_STATE_URL" in away["store"]["fix"]) == ("fail", True)

    monkeypatch.setenv("NIGHTSHIFT_CONCURRENCY", "none")
    process_settings.cache_clear()
    unread = await checks(cli, code=1)
    assert unread["settings"]["verdict"] == "fail"
    assert "'concurrency'" in unread["settings"]["says"]
