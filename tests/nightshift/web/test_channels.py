"""Channels over HTTP: who sees them, who changes them, who may have one forgotten."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from nightshift.access.tokens import Role, Tokens
from nightshift.base.refs import ChannelRef
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.nightshift.web.conftest import Call, Caller

STRANGE = ChannelRef("matrix", "!a/b:{x}*?#%41 é")


@pytest.fixture
async def messages(store: Redis) -> Messages:
    return Messages(store, Keys())


async def say(messages: Messages, ref: ChannelRef, id: str = "1", *, tenant: str = "default") -> None:
    now = await store_now(messages.redis)
    await messages.observe([Observed(MessageKind.NEW, ref, id, "ann", text="hello", at=now)], tenant=tenant)


def at(ref: ChannelRef, more: str = "") -> str:
    return f"/v1/channels/{quote(str(ref), safe='')}{more}"


async def test_a_channel_is_listed_shown_paused_and_resumed_whatever_it_is_called(
    admin: Caller, messages: Messages
) -> None:
    await say(messages, STRANGE)
    await messages.channels.record_metadata(ChannelRef("discord", "2"), name="known")
    page = (await admin("/v1/channels?limit=1")).json()
    assert [each["id"] for each in page["channels"]] == [STRANGE.id]
    rest = (await admin(f"/v1/channels?limit=1&after={quote(page['next'], safe='')}")).json()
    assert ([each["name"] for each in rest["channels"]], rest["next"]) == (["known"], None)

    assert (await admin(at(STRANGE, "/pause"), "POST")).status_code == 200
    shown = (await admin(at(STRANGE))).json()
    assert (shown["channel"], shown["messages"], shown["paused_by"]) == (str(STRANGE), 1, "ann")
    assert (shown["audience"], shown["next_beat"], shown["skips"]) == (str(STRANGE), None, [])
    assert (await admin(at(STRANGE, "/resume"), "POST")).status_code == 200
    assert (await admin(at(STRANGE))).json()["paused_by"] == ""


async def test_settings_are_changed_or_refused_with_what_they_may_be(
    admin: Caller, messages: Messages
) -> None:
    await say(messages, STRANGE)
    changed = await admin(at(STRANGE), "PATCH", json={"quiet_hours": "22:00-08:00", "audience": "everyone"})
    assert (changed.json()["quiet_hours"], changed.json()["audience"]) == ("22:00-08:00", "everyone")
    for wrong, said in (
        ({"quiet_hours": "always"}, "no quiet hours"),
        ({"audience": "server"}, "no server is known"),
        ({"audience": "all"}, ""),
        ({"name": "mine"}, ""),
    ):
        answer = await admin(at(STRANGE), "PATCH", json=wrong)
        assert answer.status_code == 422, wrong
        assert said in answer.json()["detail"]
    unknown = await admin(at(STRANGE), "PATCH", json={"agent": "nobody"})
    assert unknown.status_code == 404
    assert (await admin(at(STRANGE))).json()["quiet_hours"] == "22:00-08:00"


async def test_another_tenants_channel_is_not_there(call: Call, tokens: Tokens, messages: Messages) -> None:
    ours, theirs = ChannelRef("discord", "ours"), ChannelRef("discord", "theirs")
    await say(messages, ours, tenant="a")
    await say(messages, theirs, tenant="b")
    of_a = call(await tokens.create("a's", Role.OPERATOR, tenant="a"))
    assert [each["id"] for each in (await of_a("/v1/channels")).json()["channels"]] == ["ours"]
    nowhere = ChannelRef("discord", "nowhere")
    for path, method in (("", "GET"), ("/pause", "POST"), ("/resume", "POST"), ("", "PATCH")):
        json: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        answers = [await of_a(at(ref, path), method, **json) for ref in (theirs, nowhere)]
        assert [answer.status_code for answer in answers] == [404, 404]
        details = [
            answer.json()["detail"].replace(ref.id, "X")
            for answer, ref in zip(answers, (theirs, nowhere), strict=True)
        ]
        assert details[0] == details[1]
        assert (await of_a(at(ours, path), method, **json)).status_code == 200


async def test_forgetting_is_the_deployments_admins_alone(call: Call, tokens: Tokens) -> None:
    for n, (role, tenant) in enumerate(((Role.VIEWER, None), (Role.OPERATOR, None), (Role.ADMIN, "a"))):
        caller = call(await tokens.create(f"token-{n}", role, tenant=tenant))
        for method in ("GET", "POST"):
            answer = await caller("/v1/forget", method, json={"user": "discord:ann"})
            assert answer.status_code == 403


async def test_somebody_is_forgotten_and_there_is_a_receipt(admin: Caller, messages: Messages) -> None:
    await say(messages, STRANGE)
    counted = (await admin("/v1/forget", "POST", json={"user": "matrix:ann"})).json()
    assert (counted["counts"]["messages"], counted["receipt"]) == (1, None)
    assert await messages.count(STRANGE) == 1

    done = (await admin("/v1/forget", "POST", json={"user": "matrix:ann", "dry_run": False})).json()
    assert done["receipt"]["what"] == "user matrix:ann"
    assert done["receipt"]["by"] == "ann"
    assert await messages.count(STRANGE) == 0
    assert (await admin("/v1/forget")).json() == [done["receipt"]]
    for wrong in ({}, {"user": "matrix:a", "channel": "matrix:b"}, {"user": "nobody"}):
        assert (await admin("/v1/forget", "POST", json=wrong)).status_code == 422
