"""``channels beat``, ``channels next``, ``channels rules`` and ``why heartbeat:CHANNEL``."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import pytest

from nightshift.base.refs import ChannelRef
from nightshift.channels.channels import Channels
from nightshift.deployment import process_settings
from nightshift.heartbeats.row import source_of
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage

ROOM, EMPTY, ELSEWHERE = (ChannelRef("local", name) for name in ("lounge", "empty", "elsewhere"))


@pytest.fixture(autouse=True)
def quick_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is set; nobody asks it."""
    monkeypatch.setenv("NIGHTSHIFT_MODEL__URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("NIGHTSHIFT_AGENTS__DEFAULT__RUNNER", "model")
    process_settings.cache_clear()


@pytest.fixture
async def room(ledger: Ledger) -> ChannelRef:
    """Somebody spoke an hour ago."""
    at = await store_now(ledger.redis) - timedelta(hours=1)
    said = Observed(MessageKind.NEW, ROOM, "m1", "ada", "Ada", "hello", at)
    await Messages(ledger.redis, ledger.keys).observe([said])
    return ROOM


async def test_a_channel_is_visited_when_a_person_says_so_and_tells_when_it_is_next(
    cli: Cli, ledger: Ledger, room: ChannelRef
) -> None:
    before = await cli("channels", "next", str(room))
    assert before.output == (
        "local:lounge is not visited: the job channel_heartbeat, which would adopt it, has no slot; "
        "`nightshift why channel_heartbeat` says why.\n"
    )
    visited = await cli("channels", "beat", str(room))
    assert visited.exit_code == 0, visited.output
    run = await ledger.get(visited.output.strip())
    assert (run.source, run.task) == (source_of(room), "tasks.heartbeat.think")
    assert [line.detail for line in run.story] == ["asked for by hand"]
    after = json.loads((await cli("channels", "next", str(room), "--json")).output)
    assert datetime.fromisoformat(after["next"])
    assert (after["reason"], after["says"][0]) == (None, "local:lounge is visited about every 30 min.")
    said = (await cli("channels", "next", str(room))).output
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, in \d+ min.*\n", said)


async def test_a_channel_that_waits_to_be_adopted_is_told_from_one_that_is_used_too_rarely(
    cli: Cli, stage: Stage, room: ChannelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.job(name="channel_heartbeat", next=await store_now(stage.ledger.redis) + timedelta(minutes=4))
    waits = (await cli("channels", "next", str(room))).output
    assert "is not visited: the job channel_heartbeat has not adopted it yet; it comes in " in waits

    await Channels(stage.ledger.redis, stage.ledger.keys).record_metadata(EMPTY, name="empty")
    unused = (await cli("channels", "next", str(EMPTY))).output
    assert unused == "local:empty is not visited: nothing was said there yet.\n"

    later = Observed(
        MessageKind.NEW, ELSEWHERE, "m1", "ada", "Ada", "hello", await store_now(stage.ledger.redis)
    )
    await Messages(stage.ledger.redis, stage.ledger.keys).observe([later])
    await cli("channels", "rules", "--set", "channels=1")
    rare = (await cli("channels", "next", str(room))).output
    assert rare == "local:lounge is not visited: it is not among the 1 most recently used channels.\n"
    assert "has not adopted it yet" in (await cli("channels", "next", str(ELSEWHERE))).output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("channels", "pause", "local:lounge"), "it is paused by "),
        (("freeze", "--reason", "odd"), "froze every call and send at "),
        (
            ("switches", "set", "channel_heartbeat_enabled", "off"),
            "the switch channel_heartbeat_enabled is off",
        ),
        (("switches", "set", "chat_llm_enabled", "off"), "the switch chat_llm_enabled is off"),
    ],
)
async def test_a_channel_that_is_kept_from_visiting_has_a_reason_and_no_next_beat(
    cli: Cli, room: ChannelRef, words: tuple[str, ...], told: str
) -> None:
    await cli("channels", "beat", str(room))
    assert (await cli(*words)).exit_code == 0
    said = (await cli("channels", "next", str(room))).output
    assert said.startswith("local:lounge is not visited: ")
    assert told in said
    as_json = json.loads((await cli("channels", "next", str(room), "--json")).output)
    assert (as_json["next"], f"{as_json['reason']}\n") == (None, said)
    assert "next visit" not in (await cli("why", f"heartbeat:{room}")).output


async def test_a_visit_that_is_refused_says_by_which_rule(cli: Cli, ledger: Ledger, room: ChannelRef) -> None:
    await pause_from_elsewhere(ledger, room)
    refused = await cli("channels", "beat", str(room))
    assert refused.exit_code == 1
    assert "No visit: paused: by ada" in refused.output
    why = await cli("why", f"heartbeat:{room}")
    assert why.exit_code == 0, why.output
    assert "local:lounge is not visited: it is paused by ada." in why.output
    assert "was skipped by the rule paused: by ada." in why.output


async def pause_from_elsewhere(ledger: Ledger, room: ChannelRef) -> None:
    await Channels(ledger.redis, ledger.keys).pause(room, by="ada")


async def test_a_channel_that_is_not_known_is_said_to_be_none(cli: Cli) -> None:
    for words in (("channels", "beat"), ("channels", "next"), ("why",)):
        answer = await cli(*words, "heartbeat:discord:none" if words == ("why",) else "discord:none")
        assert answer.exit_code == 1
        assert "no channel is called 'discord:none'" in answer.output


async def test_rules_are_shown_and_changed_live(cli: Cli) -> None:
    shown = await cli("channels", "rules")
    assert "30 min" in shown.output
    assert "between two visits" in shown.output
    changed = await cli("channels", "rules", "--set", "interval=15m", "--set", "backoff=1m,2h", "--json")
    assert changed.exit_code == 0, changed.output
    rules = json.loads(changed.output)
    assert (rules["interval"], rules["backoff"]) == ("PT15M", ["PT1M", "PT2H"])
    again = json.loads((await cli("channels", "rules", "--unset", "interval", "--json")).output)
    assert (again["interval"], again["backoff"]) == ("PT30M", ["PT1M", "PT2H"])


@pytest.mark.parametrize("word", ["interval=1s", "intervall=3m", "jitter=9", "interval"])
async def test_a_rule_that_makes_no_sense_is_refused(cli: Cli, word: str) -> None:
    answer = await cli("channels", "rules", "--set", word)
    assert answer.exit_code == 2
    assert word.partition("=")[0] in answer.output
