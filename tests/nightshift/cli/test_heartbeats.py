"""``channels beat``, ``channels next``, ``channels rules`` and ``why heartbeat:CHANNEL``."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from nightshift import bootstrap
from nightshift.channels.ref import ChannelRef
from nightshift.heartbeats.row import source_of
from nightshift.memory.message import Kind, Observed
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger
from nightshift.store import store_now
from tests.nightshift.cli.conftest import Cli

ROOM = ChannelRef("local", "lounge")


@pytest.fixture(autouse=True)
def quick_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is set; nobody asks it."""
    monkeypatch.setenv("NIGHTSHIFT_MODEL__URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("NIGHTSHIFT_AGENTS__DEFAULT__RUNNER", "model")
    bootstrap.settings.cache_clear()


@pytest.fixture
async def room(ledger: Ledger) -> ChannelRef:
    """Somebody spoke an hour ago."""
    at = await store_now(ledger.redis) - timedelta(hours=1)
    said = Observed(Kind.NEW, ROOM, "m1", "ada", "Ada", "hello", at)
    await Messages(ledger.redis, ledger.keys).observe([said])
    return ROOM


async def test_a_channel_beats_when_a_person_says_so_and_tells_when_it_does_next(
    cli: Cli, ledger: Ledger, room: ChannelRef
) -> None:
    before = await cli("channels", "next", str(room))
    assert "it is not among the 1000 most recently used channels" in before.output
    beaten = await cli("channels", "beat", str(room))
    assert beaten.exit_code == 0, beaten.output
    run = await ledger.get(beaten.output.strip())
    assert (run.source, run.task) == (source_of(room), "tasks.heartbeat.think")
    assert [line.detail for line in run.story] == ["asked for by hand"]
    after = json.loads((await cli("channels", "next", str(room), "--json")).output)
    assert after["next"]
    assert after["says"][0] == "local:lounge beats about every 30 min."


async def test_a_beat_that_is_refused_says_by_which_rule(cli: Cli, ledger: Ledger, room: ChannelRef) -> None:
    await bootstrap_free_pause(ledger, room)
    refused = await cli("channels", "beat", str(room))
    assert refused.exit_code == 1
    assert "No beat: paused: by ada" in refused.output
    why = await cli("why", f"heartbeat:{room}")
    assert why.exit_code == 0, why.output
    assert "local:lounge does not beat: it is paused by ada." in why.output
    assert "was skipped by the rule paused: by ada." in why.output


async def bootstrap_free_pause(ledger: Ledger, room: ChannelRef) -> None:
    from nightshift.channels.channels import Channels

    await Channels(ledger.redis, ledger.keys).pause(room, by="ada")


async def test_a_channel_that_is_not_known_is_said_to_be_none(cli: Cli) -> None:
    for words in (("channels", "beat"), ("channels", "next"), ("why",)):
        answer = await cli(*words, "heartbeat:discord:none" if words == ("why",) else "discord:none")
        assert answer.exit_code == 1
        assert "no channel is called 'discord:none'" in answer.output


async def test_rules_are_shown_and_changed_live(cli: Cli) -> None:
    shown = await cli("channels", "rules")
    assert "30 min" in shown.output
    assert "between two beats" in shown.output
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
