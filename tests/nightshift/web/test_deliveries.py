from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from nightshift.access.tokens import Role, Tokens
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, NewDelivery
from nightshift.memory.messages import Messages
from nightshift.store.keys import Keys
from tests.nightshift.web.conftest import Call, Caller, web_of

ROOM = ChannelRef("chat", "!room/{b}:example.org")
RUN = "heartbeat:chat:%21room@2026-11-20T12:00:00Z"


@pytest.fixture
def deliveries(app: FastAPI) -> Deliveries:
    return web_of(app).here.deliveries.store


async def ask(deliveries: Deliveries, number: int = 0, **changes: Any) -> Delivery:
    return await deliveries.request(NewDelivery(RUN, ROOM, f"text {number}", number, **changes))


async def unknown(deliveries: Deliveries, **changes: Any) -> str:
    made = await ask(deliveries, **changes)
    return (await deliveries.unknown(made.id, "the answer was lost")).id


async def test_deliveries_are_listed_by_state_and_channel_page_by_page(
    admin: Caller, deliveries: Deliveries
) -> None:
    made = [(await ask(deliveries, number)).id for number in range(3)]
    await deliveries.failed(made[0], "no such channel")
    first = (await admin("/v1/deliveries?limit=2")).json()
    rest = (await admin("/v1/deliveries", params={"after": first["next"]})).json()
    assert {each["id"] for each in first["deliveries"] + rest["deliveries"]} == set(made)
    assert rest["next"] is None
    (failed,) = (await admin("/v1/deliveries?state=failed")).json()["deliveries"]
    assert (failed["id"], failed["reason"], failed["channel"]) == (made[0], "no such channel", str(ROOM))
    to_room = (await admin("/v1/deliveries", params={"channel": str(ROOM)})).json()["deliveries"]
    assert len(to_room) == 3
    assert (await admin(f"/v1/deliveries/{quote(made[0])}")).json() == failed
    assert (await admin("/v1/deliveries?channel=nowhere")).status_code == 422
    assert (await admin("/v1/deliveries?after=x")).status_code == 422


async def test_one_that_waits_for_its_bot_says_so_alone_and_in_the_list(
    admin: Caller, deliveries: Deliveries
) -> None:
    id = (await ask(deliveries, by="bot", agent="night")).id
    (listed,) = (await admin("/v1/deliveries")).json()["deliveries"]
    assert listed["reason"].startswith("waits for the agent's bot to ask for it; no bot of agent night ")
    assert (await admin(f"/v1/deliveries/{quote(id)}")).json() == listed


async def test_what_is_unknown_is_resolved_under_the_tokens_name(
    call: Call, tokens: Tokens, deliveries: Deliveries
) -> None:
    caller = call(await tokens.create("olga", Role.OPERATOR))
    id = await unknown(deliveries)
    answer = await caller(f"/v1/deliveries/{quote(id)}/resolve", "POST", json={"verdict": "sent"})
    assert answer.json()["says"] == "it is sent: marked as sent by olga"
    refused = await caller(f"/v1/deliveries/{quote(id)}/resolve", "POST", json={"verdict": "resend"})
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        f"delivery {id!r} is sent: the platform has it",
    )
    nonsense = await caller(f"/v1/deliveries/{quote(id)}/resolve", "POST", json={"verdict": "maybe"})
    assert nonsense.status_code == 422


async def test_another_tenants_delivery_is_answered_like_one_that_is_not_there(
    call: Call, tokens: Tokens, deliveries: Deliveries
) -> None:
    id = await unknown(deliveries, tenant="b")
    caller = call(await tokens.create("ann", Role.ADMIN, tenant="a"))
    for which in (id, "gone/0"):
        assert (await caller(f"/v1/deliveries/{quote(which)}")).status_code == 404
        decided = await caller(f"/v1/deliveries/{quote(which)}/resolve", "POST", json={"verdict": "sent"})
        assert decided.status_code == 404
    assert (await caller("/v1/deliveries")).json()["deliveries"] == []
    assert (await deliveries.get(id)).state == "unknown"


# Bots


@pytest.fixture
async def bot(call: Call, tokens: Tokens) -> Caller:
    return call(await tokens.create("bot", Role.BOT, tenant="default", agent="default"))


async def test_a_bot_waits_pulls_and_says_what_became_of_it(
    bot: Caller, deliveries: Deliveries, store: Redis
) -> None:
    waiting = asyncio.create_task(bot("/v1/deliveries/pull?wait=10"))
    await asyncio.sleep(0)
    made = await ask(deliveries, by="bot", agent="default", kind="heartbeat")
    (to_send,) = (await waiting).json()["deliveries"]
    assert to_send == {
        "id": made.id,
        "platform": "chat",
        "channel_id": ROOM.id,
        "text": "text 0",
        "key": made.key,
        "reply_to": "",
        "maybe_sent": False,
    }
    held = await bot("/v1/deliveries/pull", params={"wait": 0, "holding": [made.id]})
    assert held.json() == {"deliveries": []}
    for _ in range(2):
        answer = await bot(f"/v1/deliveries/{quote(made.id)}/sent", "POST", json={"message_id": "$1"})
        assert answer.json() == {"says": "it is sent", "run": RUN}
    (echo,) = await Messages(store, Keys()).last(ROOM, 9)
    assert (echo.id, echo.origin, echo.own) == ("$1", "heartbeat", True)
    late = await bot(f"/v1/deliveries/{quote(made.id)}/failed", "POST", json={"reason": "no"})
    assert late.status_code == 409


async def test_each_process_of_a_bot_is_handed_what_it_serves_once_it_says_that_it_is_connected(
    bot: Caller, deliveries: Deliveries
) -> None:
    async def pull(wait: int = 0, **params: str) -> list[str]:
        answer = await bot("/v1/deliveries/pull", params={"wait": wait, **params})
        return [each["id"] for each in answer.json()["deliveries"]]

    async def connect(process: str, *channels: str) -> None:
        sign = {"platform": "chat", "process": process, "connected_since": "2026-11-20T12:00:00Z"}
        assert (await bot("/v1/alive", "POST", json={**sign, "channels": channels})).status_code == 200

    made = (await ask(deliveries, by="bot", agent="default")).id
    assert await pull(platform="discord") == []
    assert await pull(platform="chat", process="two") == [], "it does not say that it is connected"
    await connect("one", "elsewhere")
    await connect("none", "")
    for process in ("one", "none"):
        assert await pull(platform="chat", process=process) == [], "it serves other channels"
    waiting = asyncio.create_task(pull(10, platform="chat", process="two"))
    await asyncio.sleep(0)
    await connect("two", ROOM.id, "elsewhere")
    assert await waiting == [made]

    await deliveries.sent(made, message_id="$1")
    again = (await ask(deliveries, 1, by="bot", agent="default")).id
    await connect("whole")
    assert await pull(platform="chat", process="whole") == [again]
    refused = await bot("/v1/deliveries/pull", params={"wait": 0, "process": "one"})
    assert refused.status_code == 422
    assert "name the platform" in refused.json()["detail"]


async def test_a_bot_says_that_it_failed(bot: Caller, deliveries: Deliveries) -> None:
    made = await ask(deliveries, by="bot", agent="default")
    answer = await bot(f"/v1/deliveries/{quote(made.id)}/failed", "POST", json={"reason": "was kicked"})
    assert answer.status_code == 200
    assert (await deliveries.get(made.id)).reason == "was kicked"


async def test_a_bot_knows_nothing_of_what_another_sends(bot: Caller, deliveries: Deliveries) -> None:
    for number, agent in enumerate(("night", "default")):
        made = await ask(deliveries, number, by="bot" if agent == "night" else "us", agent=agent)
        answer = await bot(f"/v1/deliveries/{quote(made.id)}/sent", "POST", json={"message_id": "$1"})
        assert answer.status_code == 404
        assert (await deliveries.get(made.id)).state == "requested"
    assert (await bot("/v1/deliveries/pull?wait=0")).json() == {"deliveries": []}
