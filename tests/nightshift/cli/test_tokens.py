from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.access.tokens import Scope, Tokens
from nightshift.store.keys import Keys
from tests.nightshift.cli.conftest import Cli, answer


@pytest.fixture
def tokens(redis: Redis) -> Tokens:
    return Tokens(redis, Keys())


async def test_a_token_is_printed_once_and_alone(cli: Cli, tokens: Tokens) -> None:
    made = await cli("tokens", "create", "ann", "--role", "operator")
    assert made.exit_code == 0
    assert made.stdout.startswith("nst_")
    assert made.stdout.count("\n") == 1
    assert "shown this once" in made.stderr
    found = await tokens.find(made.stdout.strip())
    assert found
    assert (found.name, found.role) == ("ann", "operator")
    assert made.stdout.strip() not in (await cli("tokens")).stdout


async def test_everything_about_a_token_is_listed_but_itself(cli: Cli, redis: Redis) -> None:
    words = ("--scope", "read", "--tenant", "a", "--expires", "2h")
    made = answer(await cli("tokens", "create", "ann", "--role", "admin", *words, "--json"))
    (listed,) = answer(await cli("tokens", "--json"))
    assert set(made) == {"name", "token"}
    assert set(listed) == {"name", "role", "scopes", "tenant", "agent", "created", "expires"}
    assert (listed["role"], listed["scopes"], listed["tenant"]) == ("admin", ["read"], "a")
    shown = (await cli("tokens")).stdout
    assert "in 2 h" in shown or "in 1 h" in shown
    assert made["token"] not in shown


async def test_a_bots_token_is_bound_to_its_agent_and_the_tenant_that_the_settings_say(
    cli: Cli, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_AGENTS__BOB__TENANT", "b")
    made = await cli("tokens", "create", "his bot", "--role", "bot", "--agent", "bob")
    found = await tokens.find(made.stdout.strip())
    assert found
    assert (found.agent, found.tenant, found.scopes) == ("bob", "b", frozenset({Scope.AGENT}))
    assert "bob" in (await cli("tokens")).stdout


async def test_a_revoked_token_is_gone(cli: Cli, tokens: Tokens) -> None:
    secret = (await cli("tokens", "create", "ann")).stdout.strip()
    revoked = await cli("tokens", "revoke", "ann")
    assert (revoked.exit_code, revoked.stdout) == (0, "ann is revoked\n")
    assert await tokens.find(secret) is None
    assert answer(await cli("tokens", "--json")) == []


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("create", "ann"), 1, "there is a token called 'ann' already"),
        (("create", "bob", "--role", "bot"), 2, "a bot's token is bound to an agent"),
        (("create", "bob", "--agent", "default"), 2, "no other role's is"),
        (("create", "bob", "--role", "bot", "--agent", "eve"), 1, "no agent is called 'eve'"),
        (("create", "bob", "--role", "bot", "--agent", "default", "--tenant", "b"), 2, "leave --tenant out"),
        (("create", "bob", "--role", "king"), 2, "'king' is none of viewer, operator, admin, bot"),
        (("create", "bob", "--scope", "all"), 2, "'all' is none of metrics, read, operate, admin"),
        (("create", "bob", "--scope", "operate"), 2, "a viewer may not operate"),
        (("create", "bob", "--expires", "soon"), 2, "'soon' is no duration"),
        (("create", "bob", "--expires", "0s"), 2, "expires"),
        (("create", "bob", "--expires", "999999999d"), 2, "expires"),
        (("create", "a\nb"), 2, "name"),
        (("create",), 2, "NAME"),
        (("revoke", "bob"), 1, "no token called 'bob'; there are ann"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_remedy(
    cli: Cli, redis: Redis, words: tuple[str, ...], code: int, told: str
) -> None:
    await cli("tokens", "create", "ann")
    result = await cli("tokens", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert [token["name"] for token in answer(await cli("tokens", "--json"))] == ["ann"]


# Serving


def web(**settings: str) -> subprocess.CompletedProcess[str]:
    """What `nightshift web` says when it does not start; it is a process because it would serve forever."""
    env = os.environ | {f"NIGHTSHIFT_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "nightshift.cli", "web"]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=30)


@pytest.fixture
def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


async def test_the_web_does_not_start_if_nobody_could_use_it(
    settled: None, redis: Redis, free_port: str
) -> None:
    refused = web(web_port=free_port)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "nightshift tokens create NAME" in refused.stderr
    assert "NIGHTSHIFT_WEB_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_the_web_does_not_start_with_a_token_that_can_be_guessed(
    settled: None, redis: Redis, free_port: str
) -> None:
    refused = web(web_port=free_port, web_token="canary")
    assert refused.returncode == 2
    assert "6 characters" in refused.stderr
    assert "canary" not in refused.stderr


async def test_the_web_says_who_to_ask_about_a_port_that_is_taken(settled: None, tokens: Tokens) -> None:
    await tokens.create("ann")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = web(web_port=port)
    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr
    assert "NIGHTSHIFT_WEB_PORT" in refused.stderr


def test_the_web_says_that_the_store_is_away(settled: None, tmp_path: Path, free_port: str) -> None:
    refused = web(web_port=free_port, web_token="x" * 40, state_url=f"unix://{tmp_path}/nobody.sock?db=0")
    assert refused.returncode == 3
    assert "the state store does not answer" in refused.stderr
    assert "Traceback" not in refused.stderr
