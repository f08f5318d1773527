"""Money over HTTP: read by those who may see everything, changed by those who may do everything."""

from __future__ import annotations

from redis.asyncio import Redis

from nightshift.access.tokens import Role, Tokens
from nightshift.money.caps import Caps
from nightshift.money.payer import Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.store.keys import Keys
from tests.nightshift.web.conftest import Call, Caller

ANN = Payer("run@1", "prompt:1", "ann", "helper", "discord:42", Occasion.PERSON)


async def test_what_was_spent_is_told(admin: Caller, store: Redis) -> None:
    purse = Purse(store, Keys(), Caps(store, Keys(), BudgetSettings()))
    held = await purse.reserve(ANN, model="flash", ceiling=300)
    await purse.settle(held, cost=200, tokens_in=10, tokens_out=1)
    budget = (await admin("/v1/budget")).json()
    assert budget["day"] == {"level": "day", "name": "", "spent": 200, "reserved": 0, "cap": 1_000_000}
    costs = (await admin("/v1/costs", params={"by": "agent", "days": 1})).json()["costs"]
    assert costs == [{"name": "helper", "cost": 200, "calls": 1, "tokens_in": 10, "tokens_out": 1}]
    assert (await admin("/v1/costs", params={"by": "run"})).status_code == 422
    assert (await admin("/v1/costs", params={"days": 401})).status_code == 422


async def test_a_cap_is_changed_live(admin: Caller) -> None:
    async def cap() -> object:
        return (await admin("/v1/budget")).json()["day"]["cap"]

    where = {"level": "day"}
    assert (await admin("/v1/budget/cap", "PUT", params=where, json={"micro_usd": 5})).status_code == 200
    assert await cap() == 5
    assert (await admin("/v1/budget/cap", "PUT", params=where, json={"micro_usd": None})).status_code == 200
    assert await cap() is None
    assert (await admin("/v1/budget/cap", "DELETE", params=where)).status_code == 200
    assert await cap() == 1_000_000
    named = await admin("/v1/budget/cap", "PUT", params={"level": "day", "name": "x"}, json={"micro_usd": 5})
    assert named.status_code == 422
    negative = await admin("/v1/budget/cap", "PUT", params=where, json={"micro_usd": -1})
    assert negative.status_code == 422


async def test_everything_is_frozen_by_name_and_thawed(admin: Caller) -> None:
    told = (await admin("/v1/freeze", "POST", json={"reason": "odd"})).json()
    assert (told["by"], told["reason"]) == ("ann", "odd")
    assert (await admin("/v1/status")).json()["frozen"] == told
    assert (await admin("/v1/thaw", "POST")).json()["says"] == "thawed; no run had to wait"
    assert (await admin("/v1/thaw", "POST")).json()["says"] == "nothing was frozen"
    assert (await admin("/v1/status")).json()["frozen"] is None


async def test_an_operator_may_neither_change_a_cap_nor_freeze(call: Call, tokens: Tokens) -> None:
    operator = call(await tokens.create("olga", Role.OPERATOR))
    refused = [
        await operator("/v1/budget/cap", "PUT", params={"level": "day"}, json={"micro_usd": 5}),
        await operator("/v1/freeze", "POST", json={}),
        await operator("/v1/thaw", "POST"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 3
    assert (await operator("/v1/budget")).status_code == 200
