"""A word that somebody said is sought in every key, every graph and every log, after it was forgotten."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stderr
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Subject
from nightshift.deliveries.delivery import NewDelivery
from nightshift.deployment import close_deployment, deployment, process_settings
from nightshift.heartbeats.row import source_of
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.summaries import Summary
from nightshift.money.payer import Payer
from nightshift.platforms.local import LocalPlatform
from nightshift.platforms.platform import Outgoing
from nightshift.processes.log import configure_logging
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.forgetting import RunForgetter
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome, done
from nightshift.store.client import command, store_now
from nightshift.store.keys import Keys
from tests.conftest import tell_made_up
from tests.nightshift.test_forgetting import everything

CANARY = "xylophonecanary"
ROOM, ANN = ChannelRef("local", "lobby"), UserRef("local", "ann")


@pytest.fixture
async def house(
    graphs: Redis, graph_socket: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Redis]:
    """One server for everything, as it is where nothing else is set, and the real parts on it."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    for store in ("STATE", "BROKER", "GRAPH"):
        monkeypatch.setenv(f"NIGHTSHIFT_{store}_URL", f"unix://{graph_socket}?db=0")
    process_settings.cache_clear()
    yield graphs
    await close_deployment()
    process_settings.cache_clear()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that is written to the log, as a file has it."""
    root, written = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    with redirect_stderr(written):
        configure_logging("json", logging.DEBUG)
        yield written
    root.handlers[:], root.level = before[0], before[1]


async def plant() -> None:
    """The word in every store that a word can come to."""
    redis, messages, ledger = deployment().state, deployment().memory.messages, deployment().runs.ledger
    local = deployment().platforms.by_name["local"]
    assert isinstance(local, LocalPlatform)
    sent = await local.say(ROOM.id, ANN.id, f"I play the {CANARY}")
    await messages.channels.record_metadata(ROOM, name="Lobby")
    await messages.observe(
        [
            Observed(MessageKind.NEW, ROOM, sent.message_id, ANN.id, CANARY, f"I play the {CANARY}", sent.at),
            Observed(MessageKind.NEW, ROOM, "2", ANN.id, CANARY, "nothing", sent.at),
        ]
    )
    await quote("so you play")
    payer = Payer("r", "embedding")
    await deployment().memory.embedding.see_to_waiting(payer, await store_now(redis))
    assert (await deployment().memory.recall.search(CANARY, ROOM, payer=payer)).messages, "it can be recalled"
    await messages.observe([Observed(MessageKind.EDITED, ROOM, "2", text=f"no, the {CANARY}")])

    now = await store_now(redis)
    summary = Summary(f"about a {CANARY}", {"2": 1}, (1, "2"), 2, str(ROOM), now, "r", "m", "v1")
    await deployment().memory.summaries.keep(ROOM, summary, round=0)
    later = Summary(f"more {CANARY}", {"2": 1}, (2, "2"), 2, str(ROOM), now, "r2", "m", "v1")
    await deployment().memory.summaries.keep(ROOM, later, round=1, read=await messages.last(ROOM, 9))

    rules = await deployment().heartbeats.rule_book.read()
    beats = deployment().heartbeats.visits
    await beats.adopt({ROOM: now}, rules, now=now)
    source = source_of(ROOM)
    beat = run_id(source, now)
    assert await beats.may_act(ROOM, beat, ["a hash"], CANARY, rules) is None
    await deployment().deliveries.store.request(NewDelivery(beat, ROOM, f"A {CANARY}!", agent="default"))
    await tell_made_up(redis, deployment().keys, source, preview=CANARY)

    async def think(run: Run) -> Outcome:
        await run.save({"say": CANARY})
        return done(why=CANARY, tokens=5)

    payload = {"channel": str(ROOM), "text": CANARY}
    await ledger.record(RunRequest(beat, source, now, "tasks.x", "heartbeat", payload=payload, cause=CANARY))
    assert await carry_out(ledger, beat, think, worker="w", message="m") == "done"
    work = run_id("work:default", now - timedelta(seconds=1))
    await ledger.record(RunRequest(work, "work:default", now, "tasks.y", "pull", payload=payload))


async def quote(words: str) -> None:
    """An agent of ours says the word."""
    text = f"{words} the {CANARY}?"
    sent = await deployment().platforms.by_name["local"].send(Outgoing(ROOM.id, text, words))
    await deployment().memory.messages.record_own(ROOM, sent.message_id, text, at=sent.at)


async def seek(graphs: Redis, logged: io.StringIO) -> list[str]:
    """Where the word is."""
    found = []
    async for key in graphs.scan_iter(count=1000, _type="graphdata"):
        nodes = await command(graphs, "GRAPH.RO_QUERY", key, "MATCH (n) RETURN n")
        found += [key] if CANARY in repr(nodes) else []
    async for key, text in everything(graphs, Keys(), but="graphdata"):
        found += [key] if CANARY in key + text else []
    return found + (["log"] if CANARY in logged.getvalue() else [])


@pytest.mark.parametrize("subject", [ANN, ROOM])
async def test_a_word_that_was_forgotten_is_nowhere(
    house: Redis, logged: io.StringIO, subject: UserRef | ChannelRef
) -> None:
    await plant()
    planted = await seek(house, logged)
    assert len(planted) >= 10, planted
    assert "log" not in planted, "what is said is no matter for logs"

    preview = await deployment().forgetting.preview(subject)
    assert {name for name, count in preview.items() if not count} == (
        set() if subject == ANN else {"replies"}
    )
    receipt = await deployment().forgetting.forget(subject, by="ann")

    assert await seek(house, logged) == []
    assert receipt.counts.keys() == preview.keys()
    assert not any({**await deployment().forgetting.preview(subject), "events": 0}.values())


@pytest.mark.parametrize("left", ["a graph", "summaries"])
async def test_where_a_user_spoke_is_known_for_as_long_as_there_is_something_of_it(
    house: Redis, logged: io.StringIO, left: str
) -> None:
    await plant()
    keys, messages = deployment().keys, deployment().memory.messages
    for each in await messages.last(ROOM, 9):
        await house.delete(keys.message(ROOM, each.id))
    await house.delete(keys.messages(ROOM), keys.spoke_in(ANN))  # as when they are too old to be kept
    if left == "a graph":
        await deployment().memory.summaries.drop(ROOM)
    else:
        await command(house, "GRAPH.DELETE", keys.message_graph("default"))

    await deployment().forgetting.forget(ANN, by="ann")

    assert await seek(house, logged) == []


async def test_what_an_agent_says_until_its_runs_are_stopped_goes_too(
    house: Redis, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plant()
    stop = RunForgetter.forget

    async def say_and_stop(self: RunForgetter, what: Subject, *, dry_run: bool = False) -> int:
        await quote("and where is")
        return await stop(self, what, dry_run=dry_run)

    monkeypatch.setattr(RunForgetter, "forget", say_and_stop)
    receipt = await deployment().forgetting.forget(ANN, by="ann")

    assert await seek(house, logged) == []
    assert receipt.counts["replies"] == 2
