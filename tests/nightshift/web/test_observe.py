"""What bots tell over HTTP."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from nightshift import agents
from nightshift.access.tokens import Role, Tokens
from nightshift.base.refs import ChannelRef
from nightshift.base.words import LONGEST_NAME
from nightshift.heartbeats.visits import Visits
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.nightshift.web.conftest import Call, Caller, web_of

ROOM = ChannelRef("discord", "a:b {}*")


@pytest.fixture
async def bot(call: Call, tokens: Tokens) -> Caller:
    return call(await tokens.create("bot", Role.BOT, tenant="default", agent="default"))


@pytest.fixture
async def at(store: Redis) -> datetime:
    return await store_now(store)


def message(at: datetime | None, id: str = "m1", **changes: Any) -> dict[str, Any]:
    said = {"id": id, "channel": ROOM.id, "user_id": "u1", "user_name": "Ann", "text": "hello"}
    return said | ({"at": at.isoformat()} if at else {}) | changes


async def tell(bot: Caller, *messages: dict[str, Any], **more: Any) -> Any:
    return await bot("/v1/observe", "POST", json={"platform": "discord", "messages": messages, **more})


async def test_what_is_told_is_remembered_once_with_its_edits_and_until_it_is_taken_back(
    bot: Caller, app: FastAPI, at: datetime
) -> None:
    messages = web_of(app).here.memory.messages
    assert (await tell(bot, message(at), message(at, "m2"))).json()["outcomes"] == ["new", "new"]
    assert (await tell(bot, message(at))).json()["outcomes"] == ["known"]
    edit = {"kind": "edited", "id": "m1", "channel": ROOM.id, "text": "hello!"}
    gone = {"kind": "deleted", "id": "m2", "channel": ROOM.id}
    assert (await tell(bot, edit, gone)).json()["outcomes"] == ["edited", "deleted"]
    (kept,) = await messages.last(ROOM, 10)
    assert (kept.id, kept.text, kept.user_name, kept.origin) == ("m1", "hello!", "Ann", "human")


async def test_each_message_that_cannot_be_taken_in_says_why_and_the_others_are(
    bot: Caller, at: datetime
) -> None:
    told = await tell(
        bot,
        message(at),
        message(at, channel=""),
        message(at, "a\nb"),
        message(None, "m9"),
        message(at, "m3"),
    )
    outcomes = told.json()["outcomes"]
    assert (outcomes[0], outcomes[1], outcomes[4]) == ("new", "no channel's id", "new")
    assert outcomes[2] == "no id"
    assert "when it was sent" in outcomes[3]


async def test_a_name_or_an_id_of_any_length_costs_no_other_message(
    bot: Caller, app: FastAPI, at: datetime
) -> None:
    long = "x" * 1_001
    told = await tell(
        bot,
        message(at),
        message(at, "m2", user_name=long, reply_to=long),
        message(at, long),
        message(at, "m3", user_id=long),
        message(at, "m4", channel=long),
        channels=[{"id": ROOM.id, "name": long, "server_name": long}, {"id": long}],
    )
    assert told.json()["outcomes"] == ["new", "new", "no id", "no user's id", "no channel's id"]
    messages = web_of(app).here.memory.messages
    assert {each.user_name for each in await messages.last(ROOM, 10)} == {"Ann", "x" * LONGEST_NAME}
    assert (await messages.channels.get(ROOM)).title == "x" * LONGEST_NAME


async def test_a_text_with_halves_of_characters_or_of_a_megabyte_is_data_like_any_other(
    bot: Caller, at: datetime, app: FastAPI
) -> None:
    halves = json.dumps({"platform": "discord", "messages": [message(at, channel="c", text="a\ud800b\0")]})
    bot.headers["Content-Type"] = "application/json"
    assert (await bot("/v1/observe", "POST", content=halves)).json()["outcomes"] == ["new"]
    told = await tell(bot, message(at, "m2", channel="c", text="x" * 1_000_000))
    assert told.json() == {"outcomes": ["new"], "cut": 1}
    first, second = await web_of(app).here.memory.messages.last(ChannelRef("discord", "c"), 10)
    assert {first.text, second.text} == {"a?b", "x" * 32 * 1024}


async def test_a_person_who_speaks_wakes_the_channels_heartbeat_and_a_bot_does_not(
    bot: Caller, app: FastAPI, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[ChannelRef] = []

    async def touch(self: Visits, *refs: ChannelRef) -> None:
        touched.extend(refs)

    monkeypatch.setattr(Visits, "touched", touch)
    await tell(bot, message(at, origin="agent"), message(at, "m2", origin="system"))
    assert touched == []
    await tell(bot, message(at, "m3"))
    await tell(bot, message(at, "m3"))
    assert touched == [ROOM]


async def test_the_bots_own_words_are_nobody_elses(bot: Caller, app: FastAPI, at: datetime) -> None:
    sign = {"platform": "discord", "user_id": "bot", "connected_since": at.isoformat()}
    assert (await bot("/v1/alive", "POST", json=sign)).json() == {"again_within_s": 90}
    await tell(bot, message(at, user_id="bot"))
    (kept,) = await web_of(app).here.memory.messages.last(ROOM, 10)
    assert kept.origin == "agent"
    agent = agents.of(Settings(), "default")
    assert await web_of(app).here.agents.liveness.is_alive(agent, ROOM)


async def test_channels_are_known_by_what_is_told_of_them(bot: Caller, app: FastAPI, at: datetime) -> None:
    named = {"id": ROOM.id, "name": "general", "server_id": "s1", "server_name": "Home", "members": 3}
    await tell(bot, message(at), channels=[named])
    channel = await web_of(app).here.channels.store.get(ROOM)
    assert (channel.title, channel.server_name, channel.members) == ("general", "Home", 3)


@pytest.mark.parametrize("environment", [{"NIGHTSHIFT_AGENTS__BOB__TENANT": "b"}])
async def test_another_tenants_channel_is_not_written_to(
    bot: Caller, call: Call, tokens: Tokens, at: datetime
) -> None:
    await tell(bot, message(at))
    bob = call(await tokens.create("bob's bot", Role.BOT, tenant="b", agent="bob"))
    told = await tell(bob, message(at, "m2"), channels=[{"id": ROOM.id, "name": "mine now"}])
    assert told.json()["outcomes"] == ["another tenant's channel"]


@pytest.mark.parametrize("environment", [{"NIGHTSHIFT_AGENTS__BOB__TENANT": "b"}])
async def test_no_tenant_claims_what_anothers_token_would_read(
    call: Call, app: FastAPI, tokens: Tokens, at: datetime
) -> None:
    bob = call(await tokens.create("bob's bot", Role.BOT, tenant="b", agent="bob"))
    for told in ({"messages": [message(at)]}, {"channels": [{"id": ROOM.id}]}):
        refused = await bob("/v1/observe", "POST", json={"platform": "local"} | told)
        assert (refused.status_code, "another tenant" in refused.text) == (403, True)
    assert await web_of(app).here.channels.store.find(ChannelRef("local", ROOM.id)) is None


async def test_too_much_at_once_is_refused_before_it_is_read(bot: Caller, call: Call, at: datetime) -> None:
    large = b" " * (2 * 1024 * 1024 + 1)
    for caller in (bot, call()):
        answer = await caller("/v1/observe", "POST", content=large)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")

    async def drip() -> Any:
        for _ in range(3):
            yield b" " * 1024 * 1024

    assert (await bot("/v1/observe", "POST", content=drip())).status_code == 413
    many = await tell(bot, *(message(at, f"m{n}") for n in range(501)))
    assert many.status_code == 422


async def test_who_tells_too_much_within_a_minute_is_told_when_to_come_back(
    bot: Caller, app: FastAPI, at: datetime, store: Redis
) -> None:
    minute = int(at.timestamp() // 60)
    for each in (minute, minute + 1):
        await store.set(Keys().observed("default", "default", each), 12_000)
    answer = await tell(bot, message(at))
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:nightshift:rate-limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
