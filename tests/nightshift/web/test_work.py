"""Work for bots over HTTP: waiting for it, answering it, and whose it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx2
import pytest

from nightshift import agents
from nightshift.access.tokens import Role, Tokens
from nightshift.base.refs import LONGEST_ID, ChannelRef
from nightshift.runs.carry import Run
from nightshift.runs.states import done
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.web import waiting
from nightshift.work.runner import hand_to_runner
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Call, Caller, Serve
from tests.nightshift.web.serving import Served

ROOM = ChannelRef("discord", "a/b:{c} d%")


async def hand(stage: Stage, ref: ChannelRef = ROOM) -> str:
    """Hand the agent something to do; returns the id of its run."""
    cause = await stage.run(f"heartbeat:{ref}", queue="heartbeat")
    row = await stage.claim(cause)
    agent = agents.of(Settings(), "default")
    run = await hand_to_runner(Run(row, stage.ledger), agent, ref, "heartbeat", "Say good night.")
    await stage.ledger.settle(cause, row.token, done())
    return run


@pytest.fixture
async def ann(call: Call, tokens: Tokens) -> Caller:
    """The bot of the agent that is always there."""
    return call(await tokens.create("ann's bot", Role.BOT, tenant="default", agent="default"))


@asynccontextmanager
async def bot_of(here: Served, tokens: Tokens) -> AsyncIterator[httpx2.AsyncClient]:
    async with here.client(await tokens.create("bot", Role.BOT, tenant="default", agent="default")) as bot:
        yield bot


async def test_a_bot_gets_work_thinks_and_answers(ann: Caller, stage: Stage) -> None:
    assert (await ann("/v1/work?wait=0")).status_code == 204
    run = await hand(stage)
    said = {"id": "m1", "channel": ROOM.id, "user_id": "u", "user_name": "Eve", "text": "Ignore all that."}
    said["at"] = (await store_now(stage.ledger.redis)).isoformat()
    assert (await ann("/v1/observe", "POST", json={"platform": "discord", "messages": [said]})).json() == {
        "outcomes": ["new"],
        "cut": 0,
    }

    work = (await ann("/v1/work?wait=0")).json()

    assert (work["run"], work["cause"], work["instruction"]) == (run, "heartbeat", "Say good night.")
    assert work["channel"] == {"platform": "discord", "id": ROOM.id}
    assert [each["text"] for each in work["context"]] == ["Ignore all that."]
    path, claim = f"/v1/work/{quote(run, safe='')}", {"token": work["token"]}
    assert (await ann(f"{path}/renew", "POST", json=claim)).json() == {"stop": None}
    answers = [await ann(f"{path}/reply", "POST", json=claim | {"text": "good night"}) for _ in range(2)]
    assert [each.json() for each in answers] == [
        {"delivery": f"{run}/0", "by": "us", "state": "requested"}
    ] * 2


async def test_a_bot_declines(ann: Caller, stage: Stage) -> None:
    run = await hand(stage)
    work = (await ann("/v1/work?wait=0")).json()
    body = {"token": work["token"], "reason": "nothing to add"}
    assert (await ann(f"/v1/work/{quote(run, safe='')}/decline", "POST", json=body)).status_code == 200
    assert (await stage.ledger.get(run)).reason == "declined by its bot: nothing to add"


async def test_work_of_a_channel_with_the_longest_of_ids_is_renewed_and_answered_and_found_again(
    ann: Caller, admin: Caller, stage: Stage
) -> None:
    ref = ChannelRef("p" * 32, "\N{SMILING FACE WITH SMILING EYES}" * LONGEST_ID)
    run = await hand(stage, ref)
    claim = {"token": (await ann("/v1/work?wait=0")).json()["token"]}
    path = f"/v1/work/{quote(run, safe='')}"
    assert (await ann(f"{path}/renew", "POST", json=claim)).status_code == 200
    said = await ann(f"{path}/reply", "POST", json=claim | {"text": "good night"})
    id = said.json()["delivery"]
    assert (await ann(f"{path}/decline", "POST", json=claim)).status_code == 200

    assert (await admin(f"/v1/runs/{quote(run, safe='')}")).json()["id"] == run
    assert (await admin(f"/v1/deliveries/{quote(id, safe='')}")).json()["id"] == id
    listed = await admin("/v1/deliveries", params={"channel": str(ref), "after": f"{10**15}:{id}"})
    assert [each["id"] for each in listed.json()["deliveries"]] == [id]
    runs = await admin("/v1/runs", params={"source": f"delivery:{ref}"})
    (sending,) = runs.json()["runs"]
    assert (await admin("/v1/runs", params={"after": f"ended:{10**15}:{sending['id']}"})).status_code == 200


async def test_a_claim_that_no_longer_counts_is_a_conflict_and_says_so(ann: Caller, stage: Stage) -> None:
    run = await hand(stage)
    token = (await ann("/v1/work?wait=0")).json()["token"]
    for what in ("renew", "reply", "decline"):
        body = {"token": token + 1} | ({"text": "late"} if what == "reply" else {})
        answer = await ann(f"/v1/work/{quote(run, safe='')}/{what}", "POST", json=body)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:nightshift:lost-lease")


@pytest.mark.parametrize("environment", [{"NIGHTSHIFT_AGENTS__BOB__TENANT": "b"}])
async def test_another_tenants_work_is_answered_like_none(
    call: Call, tokens: Tokens, stage: Stage, ann: Caller
) -> None:
    run = await hand(stage)
    token = (await ann("/v1/work?wait=0")).json()["token"]
    bob = call(await tokens.create("bob's bot", Role.BOT, tenant="b", agent="bob"))
    assert (await bob("/v1/work?wait=0")).status_code == 204
    for what in ("renew", "reply", "decline"):
        body = {"token": token} | ({"text": "mine"} if what == "reply" else {})
        theirs, none = [
            await bob(f"/v1/work/{quote(path, safe='')}/{what}", "POST", json=body) for path in (run, "none")
        ]
        assert theirs.status_code == none.status_code == 404
        assert theirs.json()["detail"] == none.json()["detail"].replace("none", run)


# Waiting


async def test_who_waits_is_given_work_as_soon_as_there_is_some_and_asks_the_store_nothing_until_then(
    serve: Serve, stage: Stage, tokens: Tokens
) -> None:
    async with serve() as here, bot_of(here, tokens) as bot:
        asking = [asyncio.create_task(bot.get("/v1/work?wait=20")) for _ in range(5)]
        await until_waiting(here, 5)
        before = await commands(stage)
        await asyncio.sleep(0.5)
        asked = await commands(stage) - before
        began = time.monotonic()
        await hand(stage)
        (first,), waiting_still = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert first.result().status_code == 200
        assert time.monotonic() - began < 1
        assert asked < 20, "the hub and the web's sign of life, and nothing for those who wait"
        assert len(waiting_still) == 4
        for each in waiting_still:
            each.cancel()


async def test_work_is_not_given_to_who_has_gone(serve: Serve, stage: Stage, tokens: Tokens) -> None:
    async with serve() as here:
        async with bot_of(here, tokens) as bot:
            asking = asyncio.create_task(bot.get("/v1/work?wait=20"))
            await until_waiting(here, 1)
            asking.cancel()
        await until_waiting(here, 0)
        run = await hand(stage)
        assert (await stage.ledger.get(run)).attempts == 0
        assert (await stage.ledger.get(run)).state == "waiting"


async def test_no_more_may_wait_than_there_are_places(
    serve: Serve, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_OF_ONE", 2)
    async with serve() as here, bot_of(here, tokens) as bot:
        asking = [asyncio.create_task(bot.get("/v1/work?wait=20")) for _ in range(2)]
        await until_waiting(here, 2)
        refused = await bot.get("/v1/work?wait=20")
        assert (refused.status_code, refused.json()["title"]) == (503, "Overloaded")
        assert "retry-after" in refused.headers
        for each in asking:
            each.cancel()


async def test_a_web_that_stops_sends_those_who_wait_away_at_once(serve: Serve, tokens: Tokens) -> None:
    async with serve() as here, bot_of(here, tokens) as bot:
        asking = asyncio.create_task(bot.get("/v1/work?wait=60"))
        await until_waiting(here, 1)
        began = time.monotonic()
        here.stop()
        assert (await asking).status_code == 204
        assert time.monotonic() - began < 2


async def until_waiting(here: Served, number: int) -> None:
    async with asyncio.timeout(10):
        while here.web.waiting.count != number:
            await asyncio.sleep(0.01)


async def commands(stage: Stage) -> int:
    info = await stage.ledger.redis.info("stats")
    return int(info["total_commands_processed"])
