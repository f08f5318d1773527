"""What means nothing is refused in words, and nothing that is asked breaks the web."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from redis.asyncio import Redis

from nightshift import agents
from nightshift.access.tokens import Role, Tokens
from nightshift.agents.liveness import AgentLiveness, Presence
from nightshift.runs.row import LONGEST_RUN_ID
from nightshift.runs.states import done
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from nightshift.web.unrouted import SEE
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Call, Caller

MALFORMED = [
    "/v1/runs?state=asleep",
    "/v1/runs?state=done&state=",
    "/v1/runs?since=2026-11-20T12:00:00",  # in no zone
    "/v1/runs?since=yesterday",
    "/v1/runs?limit=0",
    "/v1/runs?limit=501",
    "/v1/runs?limit=99999999999999999999",
    "/v1/runs?limit=ten",
    "/v1/runs?after=",
    "/v1/runs?after=x",
    "/v1/runs?after=ended:1e9:run",
    "/v1/runs?after=ended:99999999999999999:run",
    "/v1/runs?after=ended:-1:run",
    "/v1/runs?after=ended:nan:run",
    f"/v1/runs?after=open:1:{'x' * LONGEST_RUN_ID}",
    f"/v1/runs?source={'x' * (LONGEST_RUN_ID + 1)}",
    f"/v1/runs/{'x' * (LONGEST_RUN_ID + 1)}",
    "/v1/jobs?limit=-1",
    f"/v1/jobs?after={'x' * 201}",
    f"/v1/jobs/{'x' * 201}",
    "/v1/jobs/digest/why?at=2026-11-20",
    "/v1/schedules?after=x",
    "/v1/schedules?limit=0",
    "/v1/events?after=x",
    "/v1/events?after=1",
    "/v1/events?after=-1-0",
    "/v1/events?after=1-2-3",
    "/v1/events?after=%D9%A3-0",  # a digit, but not one of ours
    f"/v1/events?after=1-{2**64}",  # no event of a millisecond has such a number
    f"/v1/events?after={2**64}-0",
]
#: In ids, names and filters alike, each of which is answered as not there, or with nothing.
STRANGE = [
    "%00",
    "%0A%0D",
    "%1B%5B31m",
    "%FF%FE",  # no UTF-8
    "%ED%A0%80",  # half of a character
    "%F0%9F%8C%99",
    "a%2Fb",
    "a/b",
    "..%2F..%2Fetc",
    "a:b:c",
    "100%25",
    "%25%32%46",
    "a%3Fb%23c",
    "*",
    "%5B%5D%7B%7D%28",
    "%20",
]


def is_problem(answer: Any, *statuses: int) -> bool:
    told = answer.json()
    return (
        answer.status_code in statuses
        and answer.headers["content-type"] == "application/problem+json"
        and told["status"] == answer.status_code
        and told["type"].startswith("urn:nightshift:")
        and bool(told["title"] and told["detail"])
    )


@pytest.mark.parametrize("path", MALFORMED)
async def test_what_means_nothing_is_refused_as_malformed(admin: Caller, path: str) -> None:
    answer = await admin(path)
    assert is_problem(answer, 422), answer.text


@pytest.mark.parametrize("text", STRANGE)
async def test_strange_names_are_of_nothing_that_is_there(admin: Caller, stage: Stage, text: str) -> None:
    await stage.job()
    await stage.run()
    for path in (f"/v1/runs/{text}", f"/v1/runs/{text}/why", f"/v1/jobs/{text}", f"/v1/jobs/{text}/why"):
        assert is_problem(await admin(path), 404), path
    for path in ("runs/{}/cancel", "runs/{}/requeue", "jobs/{}/run", "jobs/{}/pause", "jobs/{}/resume"):
        assert is_problem(await admin(f"/v1/{path.format(text)}", "POST"), 404), path
    assert (await admin(f"/v1/runs?source={text}")).json() == {"runs": [], "next": None}
    for list in ("runs?after=open:1:", "schedules?after=1:", "jobs?after="):
        assert (await admin(f"/v1/{list}{text}")).status_code == 200, list
    assert is_problem(await admin(f"/v1/runs?after={text}"), 422)
    assert is_problem(await admin(f"/v1/events?after={text}"), 422)


@pytest.mark.parametrize("source", ["job:digest", "a/b/c", "100%", "über ☾", "a?b#c", "why", "x/why"])
async def test_whatever_a_run_is_called_it_is_found_by_its_id(
    admin: Caller, stage: Stage, source: str
) -> None:
    run = await stage.run(source)
    path = f"/v1/runs/{quote(run, safe='')}"
    assert (await admin(path)).json()["id"] == run
    assert (await admin(f"{path}/why")).json()["run"] == run
    assert (await admin(f"{path}/cancel", "POST")).status_code == 200
    (found,) = (await admin("/v1/runs", params={"source": source})).json()["runs"]
    assert found["id"] == run


async def test_whatever_a_run_holds_its_story_is_told(admin: Caller, stage: Stage) -> None:
    strange = {
        "half": "\ud800",
        "nothing": float("nan"),
        "endless": float("inf"),
        "zero": "\0",
        "deep": [[[]]],
    }
    run = await stage.run(payload=strange, outcome=done(**strange), agent="\ud800", cause="a\nb")
    answer = await admin(f"/v1/runs/{run}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["payload"]["deep"] == [[[]]]
    assert "NaN" not in answer.text
    assert (await admin("/v1/runs")).status_code == 200


@pytest.mark.parametrize(
    "at",
    [
        "0001-01-01T00:00:00+14:00",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "9000-01-01T00:00:00Z",
    ],
)
async def test_instants_at_the_end_of_time_are_refused(admin: Caller, stage: Stage, at: str) -> None:
    await stage.job()
    assert is_problem(await admin("/v1/runs", params={"since": at}), 422)
    assert is_problem(await admin("/v1/jobs/digest/why", params={"at": at}), 422)


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2026-11-20T12:00:00+14:00", "8999-12-31T23:59:59Z"])
async def test_of_any_other_instant_there_is_something_to_say(admin: Caller, stage: Stage, at: str) -> None:
    await stage.job()
    assert (await admin("/v1/runs", params={"since": at})).status_code == 200
    assert (await admin("/v1/jobs/digest/why", params={"at": at})).json()["says"]


async def test_what_a_runs_state_forbids_is_a_conflict(admin: Caller, stage: Stage) -> None:
    ended, open = await stage.run("ended", outcome=done()), await stage.run("open")
    assert is_problem(await admin(f"/v1/runs/{ended}/cancel", "POST"), 409)
    assert is_problem(await admin(f"/v1/runs/{open}/requeue", "POST"), 409)


async def test_a_job_that_leaves_no_runs_cannot_be_run(admin: Caller, stage: Stage) -> None:
    await stage.job(recorded=False)
    assert is_problem(await admin("/v1/jobs/digest/run", "POST"), 409)


async def test_a_problem_says_which_part_of_the_request_is_malformed(admin: Caller) -> None:
    told = (await admin("/v1/runs?limit=0&state=asleep")).json()
    assert {error["where"] for error in told["errors"]} == {"query.limit", "query.state.0"}
    assert "query.limit" in told["detail"]


async def test_a_full_store_says_so_and_is_still_read(admin: Caller, stage: Stage, store: Redis) -> None:
    await stage.job()
    run = await stage.run()
    await store.config_set("maxmemory", "1")
    try:
        refused = await admin("/v1/jobs/digest/run", "POST")
        read = await admin(f"/v1/runs/{run}")
        cancelled = await admin(f"/v1/runs/{run}/cancel", "POST")
    finally:
        await store.config_set("maxmemory", "0")
    assert is_problem(refused, 507)
    assert "maxmemory" in refused.json()["detail"]
    assert (read.status_code, cancelled.status_code) == (200, 200)


# By hand


async def test_jobs_are_run_paused_and_resumed_and_it_is_told_by_whom(
    call: Call, tokens: Tokens, stage: Stage, store: Redis
) -> None:
    await stage.job()
    operator = call(await tokens.create("olga", Role.OPERATOR))
    made = (await operator("/v1/jobs/digest/run", "POST")).json()["run"]
    for what in ("pause", "resume"):
        answer = await operator(f"/v1/jobs/digest/{what}", "POST")
        assert (answer.status_code, answer.json()["run"]) == (200, None)
        if what == "pause":
            assert (await operator("/v1/status")).json()["paused"] == {"digest": "olga"}
    assert (await operator("/v1/status")).json()["paused"] == {}
    assert "olga" in (await stage.ledger.get(made)).story[0].detail
    told: Any = await store.xrange(Keys().events)
    assert [(event["type"], event["source"], event["by"]) for _, event in told[1:]] == [
        ("job_paused", "job:digest", "olga"),
        ("job_resumed", "job:digest", "olga"),
    ]


async def test_a_job_that_is_off_is_run_all_the_same_and_the_answer_says_that_it_is_off(
    admin: Caller, stage: Stage
) -> None:
    await stage.job(on=False, why="the switch is off")
    answer = await admin("/v1/jobs/digest/run", "POST")
    assert (answer.status_code, "the switch is off" in answer.json()["says"]) == (202, True)


async def test_status_tells_what_is_missing_and_who_is_there(admin: Caller, stage: Stage) -> None:
    missing = (await admin("/v1/status")).json()
    await stage.everything()
    there = (await admin("/v1/status")).json()
    assert (missing["ready"], bool(missing["why"])) == (False, True)
    assert (there["ready"], there["why"]) == (True, [])
    assert {"beat", "worker", "web"} <= {process["kind"] for process in there["processes"]}
    assert (there["warnings"], there["bots"]) == ([], [])
    liveness = AgentLiveness(stage.ledger.redis, stage.ledger.keys)
    now = await store_now(stage.ledger.redis)
    await liveness.report(agents.of(Settings(), "default"), Presence("discord", "one", "4711", now))
    (bot,) = (await admin("/v1/status")).json()["bots"]
    assert (bot["agent"], bot["platform"], bot["channels"], bot["alive"]) == (
        "default",
        "discord",
        None,
        True,
    )


async def test_lists_are_turned_page_by_page(admin: Caller, stage: Stage) -> None:
    now = await store_now(stage.ledger.redis)
    expected = {await stage.run(f"run-{n}", nominal=now) for n in range(7)}
    found, after = [], None
    while True:
        page = (await admin("/v1/runs", params={"limit": 3} | ({"after": after} if after else {}))).json()
        found += [run["id"] for run in page["runs"]]
        if not (after := page["next"]):
            break
    assert len(found) == 7
    assert set(found) == expected
    assert json.dumps(page)


# What no route takes


@pytest.fixture
def below_pages(app: FastAPI) -> None:
    """Lay something over the whole application that answers whatever is left, as the console does."""
    app.mount("/", PlainTextResponse("not a problem", 404))


@pytest.mark.parametrize("path", ["/v1/nonsense", "/v1/v1/alive", "/v1/status/", "/v1", "/v1/", "/v1/%1B%00"])
async def test_what_is_not_there_is_named_and_the_description_pointed_to(
    below_pages: None, call: Call, path: str
) -> None:
    for method in ("GET", "POST", "BREW"):
        answer = await call()(path, method)
        assert is_problem(answer, 404), answer.text
        detail = answer.json()["detail"]
        assert detail == f"there is no {unquote(path).translate({0: ' ', 27: ' '})}; {SEE}"


async def test_of_a_path_without_end_only_the_beginning_is_said_back(below_pages: None, call: Call) -> None:
    assert len((await call()(f"/v1/{'x' * 5000}")).text) < 500


async def test_what_lies_beside_the_api_is_left_to_the_pages(below_pages: None, call: Call) -> None:
    for path in ("/v1x", "/v2/status", "/nonsense"):
        assert (await call()(path)).text == "not a problem"


@pytest.mark.parametrize(
    ("method", "path", "takes"),
    [
        ("DELETE", "/v1/status", ["GET"]),
        ("GET", "/v1/alive", ["POST"]),
        ("BREW", "/v1/freeze", ["POST"]),
        ("PUT", "/v1/runs/some@run/cancel", ["GET", "POST"]),  # GET: the run of that name
    ],
)
async def test_a_method_that_a_route_does_not_take_is_refused_with_those_it_does(
    below_pages: None, call: Call, method: str, path: str, takes: list[str]
) -> None:
    answer = await call()(path, method)
    assert is_problem(answer, 405), answer.text
    assert answer.headers["allow"] == ", ".join(takes)
    assert answer.json()["detail"] == f"{path} takes {' and '.join(takes)}, not {method}; {SEE}"
