from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import NewDelivery
from nightshift.runs.ledger import Ledger
from nightshift.settings import Settings
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, answer

ROOM = ChannelRef("chat", "!room:b")


@pytest.fixture
def deliveries(ledger: Ledger) -> Deliveries:
    return Deliveries(ledger.redis, ledger.keys, Switches(ledger.redis, ledger.keys, Settings()))


async def ask(deliveries: Deliveries, text: str, number: int = 0, **changes: Any) -> str:
    run = "heartbeat:a@2026-11-20T12:00:00Z"
    return (await deliveries.request(NewDelivery(run, ROOM, text, number, **changes))).id


async def test_deliveries_are_listed_and_shown_without_what_a_terminal_would_obey(
    cli: Cli, deliveries: Deliveries
) -> None:
    id = await ask(deliveries, "good\x1b[31m\nmorning", agent="night")
    await ask(deliveries, "another", 1)
    listed = await cli("deliveries", "--channel", str(ROOM))
    assert "good [31m morning" in listed.stdout
    assert [each["text"] for each in answer(await cli("deliveries", "--json"))] == [
        "another",
        "good\x1b[31m\nmorning",
    ]
    assert answer(await cli("deliveries", "--state", "sent", "--json")) == []
    shown = await cli("deliveries", "show", id)
    assert f"run delivery:{id}@1" in shown.stdout
    assert "\x1b" not in listed.stdout + shown.stdout
    assert answer(await cli("deliveries", "show", id, "--json"))["agent"] == "night"


async def test_what_is_unknown_is_decided_by_hand_and_what_does_not_fit_is_refused(
    cli: Cli, deliveries: Deliveries
) -> None:
    lost = await ask(deliveries, "lost")
    await deliveries.unknown(lost, "the answer was lost")
    assert f"resolve {lost} --resend" in (await cli("deliveries", "show", lost)).stdout
    for options in ((), ("--sent", "--resend")):
        assert (await cli("deliveries", "resolve", lost, *options)).exit_code == 2
    decided = await cli("deliveries", "resolve", lost, "--sent")
    assert decided.stdout.startswith(f"{lost} is sent: marked as sent by ")
    refused = await cli("deliveries", "resolve", lost, "--resend")
    assert (refused.exit_code, "is sent: the platform has it" in refused.stderr) == (1, True)

    refused_there = await ask(deliveries, "refused", 1)
    await deliveries.failed(refused_there, "no such channel")
    again = answer(await cli("deliveries", "resolve", refused_there, "--resend", "--json"))
    assert (again["state"], again["times"]) == ("requested", 2)
    missing = await cli("deliveries", "show", "gone/0")
    assert (missing.exit_code, "'gone/0'" in missing.stderr) == (1, True)


async def test_shadow_tells_what_would_have_been_said(cli: Cli, deliveries: Deliveries) -> None:
    await cli("switches", "set", "shadow", "on")
    await ask(deliveries, "good morning", agent="night")
    told = await cli("shadow")
    assert "something would have been said once, to 1 channel; the day cost $0." in told.stdout
    assert "good morning" in told.stdout
    assert "Shadow is on." in told.stderr
    report = answer(await cli("shadow", "--json"))
    day = (await store_now(deliveries.redis)).date()
    assert (report["on"], report["day"], report["would_have_said"]) == (True, str(day), 1)
    assert report["by_channel"] == {str(ROOM): 1}
    assert [each["text"] for each in report["said"]] == ["good morning"]
    before = answer(await cli("shadow", "--yesterday", "--json"))
    assert (before["day"], before["would_have_said"]) == (str(day - timedelta(days=1)), 0)
