"""Tokens and sessions as the store has them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from nightshift.access.tokens import FIRST, Role, Scope, Tokens, new_secret, require
from nightshift.base.errors import BadSetting, Forbidden, NotPossible
from nightshift.machine.credentials import WEB, make_once
from nightshift.settings import Settings
from nightshift.store.keys import Keys
from nightshift.web.serve import install_first_token

LONG, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def tokens(redis: Redis, keys: Keys) -> Tokens:
    """In a root of their own."""
    return Tokens(redis, keys)


async def dump(redis: Redis, keys: Keys) -> str:
    """Everything under the root, names and values."""
    found: list[Any] = []
    async for key in redis.scan_iter(f"{keys.prefix}*", count=1000):
        value = await redis.hgetall(key) if await redis.type(key) == "hash" else await redis.get(key)
        found.append((key, value))
    return repr(found)


async def test_the_store_has_neither_a_token_nor_a_cookie(redis: Redis, keys: Keys, tokens: Tokens) -> None:
    secret = await tokens.create("ann")
    await tokens.install_first(LONG)
    cookie = await tokens.sign_in(secret)
    assert cookie
    stored = await dump(redis, keys)
    assert "ann" in stored
    for private in (secret, secret.removeprefix("nst_"), LONG, cookie):
        assert private not in stored
    assert secret not in repr(await tokens.list())


def test_no_two_tokens_are_alike_and_scanners_know_them() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("nst_") and len(secret) >= 40 for secret in secrets)


async def test_a_token_is_found_by_its_secret_with_all_that_was_said_of_it(tokens: Tokens) -> None:
    secret = await tokens.create(
        "ann", Role.OPERATOR, scopes=[Scope.READ], tenant="a", lifetime=timedelta(hours=1)
    )
    token = await tokens.find(secret)
    assert token
    assert (token.name, token.role, token.tenant) == ("ann", Role.OPERATOR, "a")
    assert token.scopes == {Scope.READ}
    assert token.expires == token.created + timedelta(hours=1)
    assert [token] == await tokens.list()
    assert await tokens.find(f"{secret} ") is None
    assert await tokens.find("") is None


async def test_a_name_is_given_once(tokens: Tokens) -> None:
    await tokens.create("ann")
    with pytest.raises(NotPossible, match="there is a token called 'ann' already; revoke it first"):
        await tokens.create("ann", Role.ADMIN)
    assert [token.role for token in await tokens.list()] == [Role.VIEWER]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mann", "x" * 101, FIRST])
async def test_a_name_that_would_deceive_whoever_reads_it_is_refused(tokens: Tokens, name: str) -> None:
    with pytest.raises(BadSetting, match="name"):
        await tokens.create(name)
    assert await tokens.list() == []


@pytest.mark.parametrize(
    ("role", "scope"),
    [(Role.VIEWER, Scope.OPERATE), (Role.VIEWER, Scope.ADMIN), (Role.OPERATOR, Scope.ADMIN)],
)
async def test_a_scope_beyond_the_role_is_refused(tokens: Tokens, role: Role, scope: Scope) -> None:
    with pytest.raises(BadSetting, match=f"a {role} may not {scope}; it may metrics"):
        await tokens.create("ann", role, scopes=[scope])
    assert await tokens.list() == []


async def test_what_a_token_does_not_allow_is_refused_in_words(tokens: Tokens) -> None:
    viewer = await tokens.find(await tokens.create("ann", tenant="a"))
    assert viewer
    require(viewer, Scope.READ)
    with pytest.raises(Forbidden, match="token 'ann' may metrics, read; this needs operate"):
        require(viewer, Scope.OPERATE)
    with pytest.raises(Forbidden, match="of tenant 'a'; this concerns the whole deployment"):
        require(viewer, Scope.READ, everybody=True)


async def test_what_is_not_there_cannot_be_revoked_and_what_there_is_is_named(tokens: Tokens) -> None:
    with pytest.raises(NotPossible, match="no token called 'bob'; there are none"):
        await tokens.revoke("bob")
    await tokens.create("ann")
    with pytest.raises(NotPossible, match="there are ann"):
        await tokens.revoke("bob")


# The first


async def test_the_first_token_is_an_admins_and_a_changed_one_takes_its_place(tokens: Tokens) -> None:
    ann = await tokens.create("ann")
    for secret in (LONG, LONG, OTHER):
        await tokens.install_first(secret)
    assert [(token.name, token.role) for token in await tokens.list()] == [
        ("ann", "viewer"),
        (FIRST, "admin"),
    ]
    assert await tokens.find(LONG) is None
    assert await tokens.find(OTHER)
    assert await tokens.find(ann)


async def test_a_first_token_that_can_be_guessed_is_refused_without_being_told(tokens: Tokens) -> None:
    with pytest.raises(BadSetting, match="31 characters") as refused:
        await tokens.install_first("canary" * 5 + "x")
    assert "canary" not in str(refused.value)
    assert await tokens.list() == []


async def test_the_first_token_comes_from_the_settings_or_else_from_the_home(
    tokens: Tokens, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match="nightshift tokens create NAME"):
        await install_first_token(tokens, Settings(home=tmp_path))
    made = make_once(tmp_path, WEB, new_secret)
    await install_first_token(tokens, Settings(home=tmp_path))
    assert await tokens.find(made.secret)
    await install_first_token(tokens, Settings(home=tmp_path, web_token=SecretStr(OTHER)))
    assert await tokens.find(OTHER)
    assert await tokens.find(made.secret) is None


async def test_with_any_token_at_all_no_first_one_is_needed(tokens: Tokens, tmp_path: Path) -> None:
    await tokens.create("ann")
    await install_first_token(tokens, Settings(home=tmp_path))
    assert [token.name for token in await tokens.list()] == ["ann"]


# Browsers


async def test_a_session_ends_with_its_token_or_when_its_browser_signs_out(tokens: Tokens) -> None:
    secret = await tokens.create("ann")
    one, two = await tokens.sign_in(secret), await tokens.sign_in(secret)
    assert one
    assert two
    await tokens.sign_out(one)
    assert await tokens.signed_in(one) is None
    signed_in = await tokens.signed_in(two)
    assert signed_in
    assert signed_in.name == "ann"
    await tokens.revoke("ann")
    assert await tokens.signed_in(two) is None


async def test_a_session_lasts_half_a_day(redis: Redis, keys: Keys, tokens: Tokens) -> None:
    await tokens.sign_in(await tokens.create("ann"))
    (session,) = [key async for key in redis.scan_iter(f"{keys.root}session:*")]
    assert 0 < await redis.ttl(session) <= 12 * 3600


async def test_whoever_may_not_read_cannot_sign_in(tokens: Tokens) -> None:
    assert await tokens.sign_in("nst_of-nobody") is None
    assert await tokens.sign_in(await tokens.create("prometheus", scopes=[Scope.METRICS])) is None
    assert await tokens.signed_in("made-up") is None
