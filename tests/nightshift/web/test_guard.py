"""Who is let in where: every route that the application describes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from nightshift.access.tokens import Role, Scope, Tokens
from nightshift.base.instants import to_ms
from nightshift.deployment import process_settings
from nightshift.schedules.schedule import Schedule, put_schedules
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from nightshift.time.cadence import every
from nightshift.web.app import HEADERS, create_app
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Call, Caller

OPEN = {("GET", "/livez"), ("GET", "/readyz")}
#: What each route needs, and whether it is closed to tokens of one tenant. A new route is added here.
NEEDS = {
    ("GET", "/metrics"): (Scope.METRICS, True),
    ("GET", "/v1/openapi.json"): (Scope.READ, False),
    ("GET", "/v1/status"): (Scope.READ, True),
    ("GET", "/v1/runs"): (Scope.READ, False),
    ("GET", "/v1/runs/{run}"): (Scope.READ, False),
    ("GET", "/v1/runs/{run}/why"): (Scope.READ, False),
    ("POST", "/v1/runs/{run}/cancel"): (Scope.OPERATE, False),
    ("POST", "/v1/runs/{run}/requeue"): (Scope.OPERATE, False),
    ("GET", "/v1/jobs"): (Scope.READ, True),
    ("GET", "/v1/jobs/{name}"): (Scope.READ, True),
    ("GET", "/v1/jobs/{name}/why"): (Scope.READ, True),
    ("POST", "/v1/jobs/{name}/run"): (Scope.OPERATE, True),
    ("POST", "/v1/jobs/{name}/pause"): (Scope.OPERATE, True),
    ("POST", "/v1/jobs/{name}/resume"): (Scope.OPERATE, True),
    ("GET", "/v1/schedules"): (Scope.READ, False),
    ("GET", "/v1/channels"): (Scope.READ, False),
    ("GET", "/v1/channels/{ref}"): (Scope.READ, False),
    ("PATCH", "/v1/channels/{ref}"): (Scope.OPERATE, False),
    ("POST", "/v1/channels/{ref}/pause"): (Scope.OPERATE, False),
    ("POST", "/v1/channels/{ref}/resume"): (Scope.OPERATE, False),
    ("GET", "/v1/forget"): (Scope.ADMIN, True),
    ("POST", "/v1/forget"): (Scope.ADMIN, True),
    ("GET", "/v1/deliveries"): (Scope.READ, False),
    ("GET", "/v1/deliveries/{id}"): (Scope.READ, False),
    ("POST", "/v1/deliveries/{id}/resolve"): (Scope.OPERATE, False),
    ("GET", "/v1/deliveries/pull"): (Scope.AGENT, False),
    ("POST", "/v1/deliveries/{id}/sent"): (Scope.AGENT, False),
    ("POST", "/v1/deliveries/{id}/failed"): (Scope.AGENT, False),
    ("GET", "/v1/events"): (Scope.READ, False),
    ("GET", "/v1/budget"): (Scope.READ, True),
    ("PUT", "/v1/budget/cap"): (Scope.ADMIN, True),
    ("DELETE", "/v1/budget/cap"): (Scope.ADMIN, True),
    ("GET", "/v1/costs"): (Scope.READ, True),
    ("POST", "/v1/freeze"): (Scope.ADMIN, True),
    ("POST", "/v1/thaw"): (Scope.ADMIN, True),
    ("POST", "/v1/observe"): (Scope.AGENT, False),
    ("POST", "/v1/alive"): (Scope.AGENT, False),
    ("GET", "/v1/work"): (Scope.AGENT, False),
    ("POST", "/v1/work/{run}/renew"): (Scope.AGENT, False),
    ("POST", "/v1/work/{run}/reply"): (Scope.AGENT, False),
    ("POST", "/v1/work/{run}/decline"): (Scope.AGENT, False),
}

FOR_PEOPLE = [route for route, (needed, _) in NEEDS.items() if needed is not Scope.AGENT]


async def refusals(
    caller: Caller, routes: Collection[tuple[str, str]] = NEEDS.keys()
) -> dict[tuple[str, str], int]:
    """How each route refuses this caller, each with a problem document; 0 where it does not."""
    found = {}
    for method, path in routes:
        # What is malformed or not there is told only to those who are let in; a stream is not begun.
        query = {"after": "no-id"} if path == "/v1/events" else {"wait": "0"}
        url = path.format(run="gone@never", name="gone", id="gone/0", ref="discord:gone")
        answer = await caller(url, method, params=query)
        found[method, path] = answer.status_code if answer.status_code in (401, 403) else 0
        if found[method, path]:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
        assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
        assert {name.decode() for name in HEADERS} <= set(answer.headers)
    return found


async def schedule(stage: Stage, name: str, tenant: str) -> None:
    hourly = Schedule(name, every(hours=1), "tasks.work", "io", tenant=tenant)
    await put_schedules(stage.ledger, [hourly], now=await store_now(stage.ledger.redis))


def test_what_every_route_needs_is_said_here() -> None:
    described = create_app(process_settings()).openapi()["paths"]
    assert {(m.upper(), path) for path, methods in described.items() for m in methods} == OPEN | set(NEEDS)


@pytest.mark.parametrize("shown", [None, "nst_of-nobody"])
async def test_whoever_shows_no_token_or_one_that_is_not_known_is_let_in_nowhere(
    call: Call, shown: str | None
) -> None:
    caller = call()
    if shown:
        caller.headers["Authorization"] = f"Bearer {shown}"
    assert set((await refusals(caller)).values()) == {401}


@pytest.mark.parametrize("shown", ["Basic YW5uOnB3", "Bearer", "Bearer  ", "{secret}", "Token {secret}"])
async def test_a_token_is_shown_as_bearer_or_not_at_all(call: Call, tokens: Tokens, shown: str) -> None:
    caller = call()
    caller.headers["Authorization"] = shown.format(secret=await tokens.create("ann", Role.ADMIN))
    assert (await caller("/v1/runs")).status_code == 401


async def test_a_token_that_expires_or_is_revoked_lets_in_nowhere_from_then_on(
    call: Call, tokens: Tokens, store: Redis
) -> None:
    revoked = await tokens.create("rob", Role.ADMIN)
    brief = await tokens.create("bea", Role.ADMIN, lifetime=timedelta(minutes=5))
    assert set((await refusals(call(revoked), FOR_PEOPLE)).values()) == {0}
    assert set((await refusals(call(brief), FOR_PEOPLE)).values()) == {0}

    await tokens.revoke("rob")
    (token,) = await tokens.list()
    lapsed = token.to_json().replace(
        str(to_ms(token.expires or token.created)), str(to_ms(await store_now(store)))
    )
    await store.hset(Keys().tokens, token.digest, lapsed)

    assert set((await refusals(call(revoked))).values()) == {401}
    assert set((await refusals(call(brief))).values()) == {401}


@pytest.mark.parametrize("tenant", [None, "a"])
@pytest.mark.parametrize(
    ("role", "scopes", "may"),
    [
        (Role.VIEWER, (), {Scope.METRICS, Scope.READ}),
        (Role.VIEWER, (Scope.METRICS,), {Scope.METRICS}),
        (Role.OPERATOR, (), {Scope.METRICS, Scope.READ, Scope.OPERATE}),
        (Role.OPERATOR, (Scope.OPERATE,), {Scope.OPERATE}),
        (Role.ADMIN, (), set(Scope) - {Scope.AGENT}),
        (Role.ADMIN, (Scope.READ,), {Scope.READ}),
    ],
)
async def test_a_token_lets_in_where_role_scopes_and_tenant_say_and_nowhere_else(
    call: Call, tokens: Tokens, role: Role, scopes: tuple[Scope, ...], may: set[Scope], tenant: str | None
) -> None:
    secret = await tokens.create("ann", role, scopes=scopes, tenant=tenant)
    expected = {
        route: 0 if needed in may and not (everybody and tenant) else 403
        for route, (needed, everybody) in NEEDS.items()
    }
    assert await refusals(call(secret)) == expected


async def test_a_bot_is_let_in_where_bots_are_and_nowhere_else(call: Call, tokens: Tokens) -> None:
    secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")
    expected = {route: 0 if needed is Scope.AGENT else 403 for route, (needed, _) in NEEDS.items()}
    assert await refusals(call(secret)) == expected


async def test_a_bot_whose_agent_is_gone_or_another_tenants_is_let_in_nowhere(
    call: Call, tokens: Tokens
) -> None:
    moved = call(await tokens.create("moved", Role.BOT, tenant="b", agent="default"))
    assert "agent 'default' no longer is" in (await moved("/v1/work?wait=0")).json()["detail"]
    gone = call(await tokens.create("gone", Role.BOT, tenant="default", agent="ann"))
    assert (await gone("/v1/work?wait=0")).status_code == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_are_open_to_all_and_tell_yes_alone(call: Call, path: str) -> None:
    answer = await call()(path)
    assert (answer.status_code, answer.text) == (200, "ok\n")


# Tenants


async def test_a_run_of_another_tenant_is_answered_like_one_that_is_not_there(
    call: Call, tokens: Tokens, stage: Stage
) -> None:
    theirs = await stage.run("theirs", tenant="b")
    caller = call(await tokens.create("ann", Role.ADMIN, tenant="a"))
    before = (await stage.ledger.get(theirs)).raw
    for method, path in (each for each in FOR_PEOPLE if "{run}" in each[1]):
        gone = theirs.replace("theirs", "nobody")
        answers = [await caller(path.format(run=run), method) for run in (theirs, gone)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == {
            name: value.replace(gone, theirs) if isinstance(value, str) else value
            for name, value in answers[1].json().items()
        }
    assert (await stage.ledger.get(theirs)).raw == before


async def test_lists_hold_what_is_the_tenants_own(call: Call, tokens: Tokens, stage: Stage) -> None:
    for tenant in ("a", "b", "default"):
        await stage.run(f"of-{tenant}", tenant=tenant)
        await schedule(stage, f"due-{tenant}", tenant)
    caller = call(await tokens.create("ann", tenant="a"))
    assert [run["source"] for run in (await caller("/v1/runs")).json()["runs"]] == ["of-a"]
    assert [each["id"] for each in (await caller("/v1/schedules")).json()["schedules"]] == ["due-a"]


async def test_of_its_own_runs_a_tenant_is_told_everything_and_may_change_them(
    call: Call, tokens: Tokens, stage: Stage
) -> None:
    ours = await stage.run("ours", tenant="a")
    caller = call(await tokens.create("ann", Role.OPERATOR, tenant="a"))
    assert (await caller(f"/v1/runs/{ours}")).json()["tenant"] == "a"
    assert (await caller(f"/v1/runs/{ours}/why")).json()["state"] == "waiting"
    assert (await caller(f"/v1/runs/{ours}/cancel", "POST")).status_code == 200
    assert (await caller(f"/v1/runs/{ours}/requeue", "POST")).status_code == 200
    told = (await stage.ledger.get(ours)).story
    assert [(line.what, "ann" in line.detail) for line in told[1:]] == [("skipped", True), ("replayed", True)]


# Headers


async def test_what_keeps_browsers_safe_is_said_with_every_answer_errors_included(
    admin: Caller, app: FastAPI
) -> None:
    @app.get("/breaks")
    async def breaks() -> None:
        raise ValueError("canary")

    answers = [await admin(path) for path in ("/livez", "/v1/runs", "/nowhere", "/v1/runs/gone", "/breaks")]
    answers += [await admin("/v1/runs", "DELETE"), await admin("/v1/runs?limit=0")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 500, 405, 422]
    for answer in answers:
        assert {name.decode(): answer.headers.get(name.decode()) for name in HEADERS} == {
            name.decode(): value.decode() for name, value in HEADERS.items()
        }
    for answer in answers[2:]:
        assert answer.headers["content-type"] == "application/problem+json"
    assert "canary" not in answers[4].text
