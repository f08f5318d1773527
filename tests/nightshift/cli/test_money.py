from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from nightshift.controls.freeze import Freeze
from nightshift.deployment import process_settings
from nightshift.money.caps import Caps
from nightshift.money.payer import Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.runs.states import held_up
from nightshift.store.keys import Keys
from tests.nightshift.cli.conftest import Cli, Stage, answer

ANN = Payer("run@1", "prompt:1", "ann", "helper", "discord:42", Occasion.PERSON)


@pytest.fixture
def purse(redis: Redis, keys: Keys) -> Purse:
    return Purse(redis, keys, Caps(redis, keys, BudgetSettings()))


async def spend(purse: Purse, cost: int, payer: Payer = ANN) -> None:
    held = await purse.reserve(payer, model="flash", ceiling=cost)
    await purse.settle(held, cost=cost, tokens_in=100, tokens_out=10)


async def test_the_budget_is_shown_with_its_cap_its_forecast_and_who_spent(cli: Cli, purse: Purse) -> None:
    await spend(purse, 250_000)
    shown = (await cli("budget")).stdout
    assert "$0.25 of $1 today" in shown
    assert "25 %" in shown
    assert "by midnight" in shown
    assert "discord:42" in shown
    told = answer(await cli("budget", "--json"))
    assert (told["day"]["spent"], told["day"]["cap"], told["day"]["reserved"]) == (250_000, 1_000_000, 0)
    assert told["forecast"]["total"] >= 250_000
    assert {each["level"] for each in told["by"]} == {"source", "channel", "agent", "job", "tenant", "model"}


async def test_caps_are_set_lifted_and_unset(cli: Cli, purse: Purse) -> None:
    async def cap() -> object:
        return answer(await cli("budget", "--json"))["day"]["cap"]

    assert (await cli("budget", "set", "day", "2.5")).stdout == "day: $2.5\n"
    assert await cap() == 2_500_000
    assert (await cli("budget", "set", "day", "none")).stdout == "day: no cap\n"
    assert await cap() is None
    assert (await cli("budget", "unset", "day")).exit_code == 0
    assert await cap() == 1_000_000
    assert (await cli("budget", "set", "channel", "$0.1")).stdout == "each channel: $0.1\n"
    told = await cli("budget", "set", "channel", "discord:%20 {x}", "0")
    assert told.stdout == "channel discord:%20 {x}: $0\n"


async def test_caps_are_listed_before_anything_is_spent(
    cli: Cli, purse: Purse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cap on" not in (await cli("budget")).stdout
    monkeypatch.setenv("NIGHTSHIFT_BUDGET__JOB", "0.5")
    process_settings.cache_clear()
    await cli("budget", "set", "channel", "tiny:nowhere", "3")
    shown = [line.split() for line in (await cli("budget")).stdout.splitlines()]
    assert ["channel", "tiny:nowhere", "$3", "by", "hand"] in shown
    assert ["each", "job", "$0.5", "by", "the", "settings"] in shown
    told = answer(await cli("budget", "--json"))
    assert {"level": "channel", "name": "tiny:nowhere", "micro_usd": 3_000_000, "live": True} in told["caps"]
    assert told["day"]["cap"] == 1_000_000


@pytest.mark.parametrize(
    "words",
    [
        ("day", "much"),
        ("day", "-1"),
        ("day", "nan"),
        ("day", "1e3"),
        ("day", "everybody", "1"),  # the day has no names
        ("channel", "a", "b", "1"),
        ("galaxy", "1"),
        ("day", "9999999999"),
    ],
)
async def test_what_is_no_cap_is_wrong_use(cli: Cli, words: tuple[str, ...]) -> None:
    assert (await cli("budget", "set", *words)).exit_code == 2


async def test_who_waited_for_room_comes_back_when_a_cap_is_raised(cli: Cli, stage: Stage) -> None:
    run = await stage.run("news")
    claimed = await stage.claim(run)
    far = await stage.ledger.redis.time()
    outcome = held_up("OutOfBudget: no room", after=stage.ledger.rules.hint_ceiling * 20)
    await stage.ledger.settle(run, claimed.token, outcome)
    assert (await cli("budget", "set", "day", "5")).exit_code == 0
    assert (await stage.ledger.get(run)).ready.timestamp() < far[0] + 60


async def test_costs_are_listed_for_people_and_for_programs(cli: Cli, purse: Purse) -> None:
    await spend(purse, 70, replace(ANN, channel='a,"b"\n=1+1'))
    await spend(purse, 30, replace(ANN, channel=""))
    told = answer(await cli("costs", "--by", "channel", "--days", "2", "--json"))
    assert [(row["name"], row["cost"], row["tokens_in"]) for row in told["costs"]] == [
        ('a,"b"\n=1+1', 70, 100),
        ("", 30, 100),
    ]
    lines = list(csv.reader(io.StringIO((await cli("costs", "--by", "channel", "--csv")).stdout)))
    assert lines == [
        ["channel", "cost_usd", "calls", "tokens_in", "tokens_out"],
        ['a,"b"\n=1+1', "0.000070", "1", "100", "10"],
        ["", "0.000030", "1", "100", "10"],
    ]
    assert "$0.0001" in (await cli("costs")).stdout
    assert (await cli("costs", "--by", "run")).exit_code == 2
    assert (await cli("costs", "--csv", "--json")).exit_code == 2


async def test_without_costs_nothing_is_listed(cli: Cli) -> None:
    told = await cli("costs")
    assert (told.exit_code, told.stdout) == (0, "")
    assert "Nothing was spent" in told.stderr


async def test_everything_is_frozen_and_thawed_and_the_status_says_so(
    cli: Cli, redis: Redis, keys: Keys, stage: Stage
) -> None:
    await stage.everything()
    told = await cli("freeze", "--reason", "it says odd things")
    assert "froze every call and send" in told.stdout
    assert "it says odd things" in told.stdout
    frozen = await Freeze(redis, keys).state()
    assert frozen
    assert frozen.reason == "it says odd things"
    status = await cli("status")
    assert (status.exit_code, "frozen: " in status.stdout) == (0, True)
    assert answer(await cli("status", "--json"))["frozen"]["by"] == frozen.by
    assert (await cli("thaw")).stdout == "thawed; no run had to wait\n"
    assert answer(await cli("status", "--json"))["frozen"] is None
    assert (await cli("thaw")).stdout == "nothing was frozen\n"
