from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from redis.asyncio import Redis

from nightshift import bootstrap
from nightshift.processes import report
from nightshift.runs.states import failed
from tests.nightshift.cli.conftest import Cli, Stage, answer
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply


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
        bootstrap.settings.cache_clear()
        check = (await checks(cli, code=0))["platform house"]
        assert (check["verdict"], check["fix"]) == ("warn", f"`chmod 600 {token}`")

        token.chmod(0o600)
        check = (await checks(cli, code=0))["platform house"]
        assert (check["verdict"], check["says"]) == ("ok", "ready, as @bot:example.org")

        other_side.answer("GET", "*", Reply(shapes.MATRIX_UNKNOWN_TOKEN, 401))
        check = (await checks(cli, code=1))["platform house"]
        assert "check the token in [platforms.house]" in check["says"]
        assert "[platforms.house]" in check["fix"]


async def test_a_store_that_is_away_and_settings_that_cannot_be_read_are_findings(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", "redis://127.0.0.1:1/0")
    away = await checks(cli, code=1)
    assert (away["store"]["verdict"], "NIGHTSHIFT_STATE_URL" in away["store"]["fix"]) == ("fail", True)

    monkeypatch.setenv("NIGHTSHIFT_CONCURRENCY", "none")
    bootstrap.settings.cache_clear()
    unread = await checks(cli, code=1)
    assert unread["settings"]["verdict"] == "fail"
    assert "'concurrency'" in unread["settings"]["says"]
