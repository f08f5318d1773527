from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import (
    BadKeys,
    BadRequest,
    Frozen,
    NightshiftError,
    NotPossible,
    OutOfBudget,
    Overloaded,
    RateLimited,
    RefusedByModel,
)
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Subject
from nightshift.llm import lexical
from nightshift.llm.models import BATCH
from nightshift.memory.embedding import AGAIN, SAYS_ENOUGH, Embedding
from nightshift.memory.embedding_queue import EVERY, SOURCE, EmbeddingQueue
from nightshift.memory.forgetting import VectorForgetter
from nightshift.memory.limits import Limits
from nightshift.memory.message import MessageKind as Change
from nightshift.memory.message import Observed, Origin
from nightshift.memory.message_graph import EmbeddingModel, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.memory.recall import Recall
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.ledger import Ledger
from nightshift.runs.states import State, done
from nightshift.store.client import store_now
from nightshift.store.graph import Graph
from nightshift.store.keys import Keys
from tests.nightshift.conftest import ROOM, Room
from tests.nightshift.memory.indexes import until_filled
from tests.nightshift.runs.model import Clock

PAYER = Payer("run", SOURCE, kind=Occasion.MEMORY)
OTHER = ChannelRef("discord", "other")


@dataclass
class Vectors:
    vectors: Sequence[Sequence[float]]
    model: str
    dim: int


@dataclass
class Embedder:
    """The lexical embedder under a name of the test's choice, with what it was asked."""

    model: str = "first"
    dim: int = lexical.DIMENSIONS
    asked: list[tuple[str, ...]] = field(default_factory=list)
    tenants: set[str] = field(default_factory=set)
    #: Raised for a batch in which one of these stands.
    refuses: dict[str, NightshiftError] = field(default_factory=dict)

    async def embed(self, texts: Sequence[str], payer: Payer) -> Vectors:
        self.asked.append(tuple(texts))
        for word, error in self.refuses.items():
            if word == payer.tenant or any(word in text for text in texts):
                raise error
        self.tenants.add(payer.tenant)
        vectors = [lexical.embed(text)[: self.dim] for text in texts]
        return Vectors(vectors, self.model, self.dim)


@dataclass
class Memory:
    """Everything between what is said and what is recalled."""

    graphs: Redis
    keys: Keys
    messages: Messages
    queue: EmbeddingQueue
    clock: Clock
    embedder: Embedder = field(default_factory=Embedder)
    kept: int = 1000
    first_choice: str = ""

    def graph_of(self, tenant: str) -> MessageGraph:
        return MessageGraph(Graph(self.graphs, self.keys.message_graph(tenant)))

    @property
    def embedding(self) -> Embedding:
        return Embedding(
            self.queue,
            self.messages,
            self.embedder,
            self.graph_of,
            first_choice=self.first_choice,
            kept=self.kept,
        )

    async def embed(self) -> dict[str, int | str]:
        told = await self.embedding.see_to_waiting(PAYER, self.clock.now)
        await until_filled(self.graphs)
        return told

    async def recall(self, query: str, destination: ChannelRef = ROOM, limit: int = 10) -> list[str]:
        recall = Recall(self.messages, self.embedder, self.graph_of)
        found = await recall.search(query, destination, limit, payer=PAYER)
        return [each.text for each in found.messages]


@pytest.fixture
def memory(graphs: Redis, keys: Keys, messages: Messages, ledger: Ledger, clock: Clock) -> Memory:
    return Memory(graphs, keys, messages, EmbeddingQueue(ledger, messages), clock)


async def test_what_was_said_is_recalled_by_words_and_by_parts_of_words(memory: Memory, room: Room) -> None:
    await memory.messages.observe(
        [room.said("1", "the harbour opens at dawn"), room.said("2", "lunch was soup")]
    )
    told = await memory.embed()

    assert told["embedded"] == 2
    assert (await memory.recall("when does the harbor open?"))[0] == "the harbour opens at dawn"
    assert await memory.queue.count() == 0
    found = await memory.messages.find(ROOM, ["1", "2"])
    assert [each.embedded for each in found.values()] == ["first", "first"]


async def test_nothing_is_embedded_twice_in_one_call_or_after_it(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "tea"), room.said("1", "tea"), room.said("1", "coffee")])
    await memory.embed()
    await memory.embed()

    assert memory.embedder.asked == [("coffee",)]


async def test_a_call_takes_as_many_texts_as_one_request(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said(f"{n}", f"number {n}") for n in range(2 * BATCH + 5)])
    await memory.embed()

    assert [len(texts) for texts in memory.embedder.asked] == [BATCH, BATCH, 5]
    assert await memory.graph_of("default").count() == 2 * BATCH + 5


async def test_an_edited_text_takes_the_place_of_the_one_before(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "the harbour opens")])
    await memory.embed()
    await memory.messages.observe([room.edited("1", "the museum opens")])
    # Even before it is embedded anew, nobody is told what was taken back.
    assert await memory.recall("harbour") == ["the museum opens"]
    await memory.embed()

    assert await memory.recall("museum") == ["the museum opens"]
    assert await memory.graph_of("default").matching("harbour", [str(ROOM)], 5) == []


async def test_a_deleted_message_is_not_recalled_even_before_its_vector_is_gone(
    memory: Memory, room: Room
) -> None:
    await memory.messages.observe([room.said("1", "the harbour opens")])
    await memory.embed()
    await memory.messages.observe([room.deleted("1")])
    assert await memory.recall("harbour") == []

    assert (await memory.embed())["removed"] == 1
    assert await memory.graph_of("default").count() == 0


@pytest.mark.parametrize("limits", [Limits(messages=2)])
@pytest.mark.parametrize(
    "what",
    [
        {"kind": Change.DELETED},
        {"kind": Change.DELETED, "at": timedelta(0)},  # its place is before all others, so it goes at once
        {"kind": Change.DELETED, "at": timedelta(days=-91)},  # refused as too old
        {"kind": Change.EDITED, "text": "the museum opens"},  # refused, as it does not say all
        {"kind": Change.EDITED, "text": "the museum opens", "user_id": "ann", "at": timedelta(0)},
    ],
)
async def test_what_is_changed_or_taken_back_after_it_left_the_cache_is_recalled_no_more(
    memory: Memory, room: Room, what: dict[str, Any]
) -> None:
    if "at" in what:
        what = what | {"at": room.clock.now + what["at"]}
    await memory.messages.observe([room.said("1", "the harbour opens")])
    await memory.embed()
    for n in range(2):
        await memory.messages.observe([room.said(f"a{n}", "lunch", at=room.later(seconds=1))])
    assert "the harbour opens" in await memory.recall("harbour")

    await memory.messages.observe([Observed(ref=ROOM, id="1", **what)])
    assert "the harbour opens" not in await memory.recall("harbour"), "before it has gone from the graph"
    for n in range(2):
        await memory.messages.observe([room.said(f"b{n}", "lunch", at=room.later(seconds=1))])
    await memory.embed()
    assert "the harbour opens" not in await memory.recall("harbour")
    assert await memory.queue.count() == 0


@pytest.mark.parametrize("limits", [Limits(messages=1)])
async def test_what_leaves_the_cache_before_its_change_has_come_to_the_graph_is_recalled_no_more(
    memory: Memory, room: Room
) -> None:
    await memory.messages.observe([room.said("1", "the harbour opens")])
    await memory.embed()
    await memory.messages.observe([room.edited("1", "the museum opens")])
    await memory.messages.observe([room.said("2", "lunch", at=room.later(seconds=1))])
    assert await memory.recall("harbour") == []
    await memory.embed()
    assert await memory.recall("harbour") == ["lunch"]
    assert await memory.graph_of("default").count() == 1


async def test_when_strays_cannot_be_removed_they_wait_and_a_run_comes_for_them(
    memory: Memory, room: Room, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.messages.observe([room.said("1")])
    await memory.embed()
    await memory.messages.observe([room.deleted("unknown")])

    async def away(*_: Any) -> int:
        raise Overloaded("the graph does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(MessageGraph, "remove", away)
        told = await memory.embed()
    assert told == {"why": "Overloaded: the graph does not answer"}
    assert await memory.queue.next() == memory.clock.now + AGAIN
    assert len(await ledger.open_runs()) == 1
    room.later(hours=1)
    await memory.embed()
    assert await memory.queue.count() == 0


async def test_a_text_that_changes_while_it_is_embedded_goes_on_waiting(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "before")])
    embed = memory.embedder.embed

    async def edit_meanwhile(texts: Sequence[str], payer: Payer) -> Vectors:
        if "before" in texts:
            await memory.messages.observe([room.edited("1", "after", edited_at=room.later(seconds=1))])
        return await embed(texts, payer)

    memory.embedder.embed = edit_meanwhile  # type: ignore[method-assign]
    await memory.embed()
    assert await memory.queue.count() == 1
    await memory.embed()
    assert await memory.recall("after") == ["after"]


async def test_what_is_forgotten_while_it_is_embedded_leaves_nothing_in_the_graph(
    memory: Memory, room: Room
) -> None:
    await memory.messages.observe([room.said("1", "a secret"), room.said("2", "tea", user_id="bob")])
    embed = memory.embedder.embed

    async def forget_meanwhile(texts: Sequence[str], payer: Payer) -> Vectors:
        await memory.messages.forget_user(UserRef("discord", "ann"))
        return await embed(texts, payer)

    memory.embedder.embed = forget_meanwhile  # type: ignore[method-assign]
    await memory.embed()
    assert [
        each.text for each in await memory.graph_of("default").matching("secret tea", [str(ROOM)], 5)
    ] == ["tea"]


@pytest.mark.parametrize("subject", [ROOM, UserRef("discord", "ann")])
async def test_what_is_forgotten_while_it_comes_to_the_graph_goes_with_the_next_run_at_the_latest(
    memory: Memory, room: Room, subject: ChannelRef | UserRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.messages.observe([room.said("1", "a secret")])
    put, remove = MessageGraph.put, MessageGraph.remove

    async def forget_first(graph: MessageGraph, *words: Any, **more: Any) -> None:
        if isinstance(subject, ChannelRef):
            await memory.messages.forget_channel(subject)
        else:
            await memory.messages.forget_user(subject)
        await VectorForgetter(memory.graphs, memory.messages).forget(Subject(subject, (ROOM,)))
        await put(graph, *words, **more)

    async def die(graph: MessageGraph, ids: Collection[str]) -> int:
        if ids:
            raise RuntimeError("the process died")
        return await remove(graph, ids)

    with monkeypatch.context() as patched:
        patched.setattr(MessageGraph, "put", forget_first)
        patched.setattr(MessageGraph, "remove", die)
        with pytest.raises(RuntimeError, match="died"):
            await memory.embed()
    assert await memory.graph_of("default").count() == 1
    assert await memory.queue.next() == memory.clock.now, "so a run comes for it"
    assert (await memory.embed())["removed"] == 1
    assert await memory.graph_of("default").count() == 0


@pytest.mark.parametrize("subject", [ROOM, UserRef("discord", "ann")])
async def test_forgetting_a_channel_or_a_user_reaches_the_graphs(
    memory: Memory, room: Room, subject: ChannelRef | UserRef
) -> None:
    await memory.messages.observe(
        [room.said("1", "a secret"), room.called("other").said("2", "tea", user_id="bob")]
    )
    await memory.embed()
    forgetter = VectorForgetter(memory.graphs, memory.messages)
    what = Subject(subject, (ROOM,))

    assert await forgetter.forget(what, dry_run=True) == 1
    assert await memory.graph_of("default").count() == 2
    assert await forgetter.forget(what) == 1
    assert await memory.graph_of("default").count() == 1
    assert await VectorForgetter(None, memory.messages).forget(what) == 0


async def test_with_a_user_goes_what_agents_of_ours_said_where_they_spoke(memory: Memory, room: Room) -> None:
    ann, bot = UserRef("discord", "ann"), UserRef("discord", "bot")
    await memory.messages.learn_own_user(bot, agent="default")
    other = room.called("other")
    await memory.messages.observe(
        [
            room.said("1", "a secret"),
            room.said("2", "re: a secret", user_id="bot"),
            room.said("3", "tea", user_id="bob"),
            other.said("1", "more tea", user_id="bot"),
        ]
    )
    await memory.messages.record_own(ROOM, "4", "a secret indeed", at=room.clock.now)
    await memory.embed()
    forgetter = VectorForgetter(memory.graphs, memory.messages)
    assert await forgetter.channels_of(ann) == {ROOM}
    what = Subject(ann, (ROOM,))

    assert await forgetter.forget(what, dry_run=True) == 3
    assert await memory.graph_of("default").count() == 5
    assert await forgetter.forget(what) == 3
    assert await forgetter.channels_of(bot) == {other.ref}
    assert await memory.recall("secret tea") == ["tea"]


async def test_what_is_older_than_it_is_kept_is_recalled_no_more(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "old tea")])
    between = room.later(minutes=30)
    await memory.messages.observe([room.said("2", "tea", at=room.later(minutes=30))])
    await memory.embed()
    assert await VectorForgetter(memory.graphs, memory.messages).forget_before(between) == 1
    assert await memory.recall("tea") == ["tea"]
    assert await VectorForgetter(None, memory.messages).forget_before(between) == 0


async def test_a_channel_is_told_only_what_it_may_see(memory: Memory, room: Room) -> None:
    for ref in (ROOM, OTHER):
        await memory.messages.channels.record_metadata(ref, server_id="s")
    await memory.messages.observe([room.said("1", "the code is swordfish")])
    await memory.embed()
    assert (await memory.recall("swordfish"), await memory.recall("swordfish", OTHER)) == (
        ["the code is swordfish"],
        [],
    )

    # What was said while the room was private stays so; what is said from now on is for the server.
    await memory.messages.channels.set(ROOM, by="me", audience="server")
    await memory.messages.observe([room.said("2", "swordfish for all")])
    await memory.embed()
    assert await memory.recall("swordfish", OTHER) == ["swordfish for all"]


async def test_a_channel_that_became_private_takes_along_what_was_said_before(
    memory: Memory, room: Room
) -> None:
    await memory.messages.channels.record_metadata(ROOM)
    await memory.messages.channels.record_metadata(OTHER)
    await memory.messages.channels.set(ROOM, by="me", audience="everyone")
    await memory.messages.observe([room.said("1", "swordfish")])
    await memory.embed()
    assert await memory.recall("swordfish", OTHER) == ["swordfish"]

    await memory.messages.channels.set(ROOM, by="me", audience="channel")
    assert await memory.recall("swordfish", OTHER) == []
    assert await memory.graph_of("default").matching("swordfish", ["everyone"], 5) == []
    assert await memory.recall("swordfish") == ["swordfish"]


async def test_tenants_have_graphs_of_their_own(memory: Memory, room: Room) -> None:
    await memory.messages.channels.record_metadata(OTHER, tenant="acme")
    await memory.messages.channels.record_metadata(ROOM)
    await memory.messages.channels.set(ROOM, by="me", audience="everyone")
    await memory.messages.observe([room.said("1", "swordfish")])
    await memory.messages.observe([room.called("other").said("2", "tea")], tenant="acme")
    await memory.embed()

    assert memory.embedder.tenants == {"default", "acme"}
    assert await memory.recall("swordfish tea", OTHER) == ["tea"]


async def test_what_heartbeats_and_platforms_say_is_not_recalled(memory: Memory, room: Room) -> None:
    origins = (Origin.SYSTEM, Origin.HEARTBEAT, Origin.RECALLED, Origin.AGENT)
    await memory.messages.observe(
        [room.said(origin, f"harbour {origin}", origin=origin) for origin in origins]
    )
    await memory.embed()

    assert await memory.recall("harbour") == ["harbour agent"]


async def test_what_turns_out_to_be_our_own_heartbeat_after_it_was_embedded_is_not_recalled(
    memory: Memory, room: Room
) -> None:
    await memory.messages.observe([room.said("1", "harbour")])
    await memory.embed()
    await memory.messages.record_own(ROOM, "1", "harbour", at=room.clock.now, origin=Origin.HEARTBEAT)

    assert await memory.recall("harbour") == []
    await memory.embed()
    assert await memory.graph_of("default").count() == 0


async def test_what_is_too_old_for_the_store_is_still_recalled(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "harbour")])
    await memory.embed()
    await memory.messages.redis.delete(memory.keys.message(ROOM, "1"))

    assert await memory.recall("harbour") == ["harbour"]


async def test_a_graph_keeps_so_many_messages_and_the_newest(memory: Memory, room: Room) -> None:
    memory.kept = 100
    await memory.messages.observe([room.said(f"{n}", f"n{n}", at=room.later(seconds=1)) for n in range(150)])
    await memory.embed()

    assert await memory.graph_of("default").count() <= 100
    assert await memory.recall("n149", limit=1) == ["n149"]


# Refusals


async def test_a_limit_met_in_the_middle_takes_nothing_away_from_what_was_embedded_before(
    memory: Memory, room: Room
) -> None:
    memory.embedder.refuses["n99"] = RateLimited("slow", retry_after=timedelta(seconds=30))
    await memory.messages.observe([room.said(f"{n}", f"n{n}", at=room.later(seconds=1)) for n in range(100)])
    told = await memory.embed()
    assert told["embedded"] == 3 * BATCH
    assert told["postponed"] == 100 - 3 * BATCH

    memory.embedder.refuses.clear()
    memory.embedder.asked.clear()
    memory.clock.move(seconds=31)
    assert (await memory.embed())["embedded"] == 100 - 3 * BATCH
    assert [len(texts) for texts in memory.embedder.asked] == [100 - 3 * BATCH]


@pytest.mark.parametrize(
    "refusal",
    [
        OutOfBudget("cap", retry_after=timedelta(hours=1)),
        Overloaded("busy"),
        BadKeys("none"),
        BadRequest("no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_is_refused_goes_on_waiting_and_keeps_nobody_elses_from_theirs(
    memory: Memory, room: Room, refusal: NightshiftError
) -> None:
    await memory.messages.channels.record_metadata(OTHER, tenant="acme")
    await memory.messages.observe([room.called("other").said(f"{n}") for n in range(9)], tenant="acme")
    room.later(seconds=1)
    await memory.messages.observe([room.said("1")])
    memory.embedder.refuses = {"acme": refusal}
    told = await memory.embed()

    assert (told["embedded"], told["postponed"]) == (1, 9)
    assert type(refusal).__name__ in str(told["why"]) or "ModelRefuses" in str(told["why"])
    assert await memory.queue.count() == 9
    # A model that takes none of the texts is not asked about each.
    assert sum("hello" in texts for texts in memory.embedder.asked) <= 1 + 1 + SAYS_ENOUGH
    assert await memory.queue.take(memory.clock.now, 10) == []
    memory.embedder.refuses = {}
    room.later(hours=1, minutes=1)
    assert (await memory.embed())["embedded"] == 9


async def test_a_text_the_model_will_not_take_costs_no_other_its_vector(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said(f"{n}", f"text {n}") for n in range(5)])
    memory.embedder.refuses = {"text 3": RefusedByModel("no")}
    told = await memory.embed()

    assert (told["embedded"], told["refused"]) == (4, 1)
    assert await memory.queue.count() == 0


async def test_a_changed_text_that_the_model_will_not_take_leaves_none_of_before(
    memory: Memory, room: Room
) -> None:
    await memory.messages.observe([room.said("1", "harbour")])
    await memory.embed()
    await memory.messages.observe([room.edited("1", "text 1"), room.said("2", "text 2")])
    memory.embedder.refuses = {"text 1": RefusedByModel("no")}
    await memory.embed()
    assert await memory.graph_of("default").matching("harbour", [str(ROOM)], 5) == []


async def test_a_freeze_ends_the_run_as_it_should(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1")])
    memory.embedder.refuses = {"hello": Frozen("frozen")}
    with pytest.raises(Frozen):
        await memory.embed()
    assert await memory.queue.count() == 1


# Another model


@pytest.mark.parametrize("dim", [lexical.DIMENSIONS, 64])
async def test_another_models_vectors_are_made_anew_and_never_compared(
    memory: Memory, room: Room, dim: int
) -> None:
    await memory.messages.observe([room.said(f"{n}", f"harbour {n}") for n in range(3)])
    await memory.embed()
    memory.embedder.model, memory.embedder.dim = "second", dim
    recall = Recall(memory.messages, memory.embedder, memory.graph_of)
    found = await recall.search("harbour", ROOM, payer=PAYER)
    assert len(found.messages) == 3
    assert "not embedded by second" in found.why

    await memory.messages.observe([room.said("new", "harbour new")])
    told = await memory.embed()
    assert (told["embedded"], told["embedded_again"]) == (1, 3)
    model = await memory.graph_of("default").model()
    assert model is not None
    assert (model.name, model.dimension) == ("second", dim)
    assert await memory.graph_of("default").outdated(model, 5) == []
    assert "embedded_again" not in await memory.embed()


async def test_whoever_dies_while_another_model_is_prepared_leaves_no_vectors_of_before_for_ever(
    memory: Memory, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.messages.observe([room.said("1", "old")])
    await memory.embed()
    memory.embedder.model = "second"
    await memory.messages.observe([room.said("2", "new")])
    prepare = MessageGraph.prepare

    async def die(graph: MessageGraph, model: EmbeddingModel) -> None:
        await prepare(graph, model)
        raise RuntimeError("the process died")

    with monkeypatch.context() as patched:
        patched.setattr(MessageGraph, "prepare", die)
        with pytest.raises(RuntimeError, match="died"):
            await memory.embed()
    assert (await memory.embed())["embedded_again"] == 1


async def test_a_model_that_stands_in_leaves_no_vectors(memory: Memory, room: Room) -> None:
    memory.first_choice = "first"
    memory.embedder.model = "fallback"
    await memory.messages.observe([room.said("1")])
    told = await memory.embed()

    assert "stood in for first" in str(told["why"])
    assert await memory.queue.count() == 1
    assert await memory.graph_of("default").model() is None


async def test_without_a_models_vector_recall_goes_by_the_words(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1", "the harbour opens")])
    await memory.embed()
    memory.embedder.refuses = {"harbour": OutOfBudget("the cap is reached")}
    found = await Recall(memory.messages, memory.embedder, memory.graph_of).search(
        "harbour", ROOM, payer=PAYER
    )

    assert [each.text for each in found.messages] == ["the harbour opens"]
    assert "the cap is reached" in found.why


async def test_without_a_graph_recall_says_why_and_messages_are_observed_all_the_same(
    memory: Memory, room: Room, ledger: Ledger
) -> None:
    await memory.messages.observe([room.said("1")])
    queue = EmbeddingQueue(ledger, memory.messages, off="no graph is set")
    await queue.wake()
    assert await ledger.open_runs() == []
    recall = Recall(memory.messages, memory.embedder, memory.graph_of, off="no graph is set")
    with pytest.raises(NotPossible, match="no graph is set"):
        await recall.search("tea", ROOM, payer=PAYER)


async def test_nothing_is_recalled_from_a_graph_nobody_has_written_to(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1")])
    assert await memory.recall("hello") == []


# The run


async def test_a_run_comes_for_what_waits_and_one_is_enough(memory: Memory, ledger: Ledger) -> None:
    await memory.queue.wake()
    await memory.queue.wake()
    (run,) = await ledger.open_runs()

    assert (run.source, run.queue, run.lane) == (SOURCE, "io", SOURCE)
    assert run.ready - run.created <= EVERY


async def test_what_comes_while_a_run_works_gets_another(
    redis: Redis, keys: Keys, messages: Messages, clock: Clock
) -> None:
    ledger = Ledger(redis, keys)
    queue = EmbeddingQueue(ledger, messages)
    await queue.wake()
    (first,) = await ledger.open_runs()
    await redis.hset(keys.run(first.id), "ready", 0)
    claimed = await ledger.claim(first.id, worker="w", message="m")
    assert not isinstance(claimed, str)
    await redis.set(keys.embedding_run, first.id)
    await queue.wake(first.ready + EVERY)
    await queue.wake(first.ready + EVERY)
    assert {run.state for run in await ledger.open_runs()} == {State.RUNNING, State.WAITING}
    await ledger.settle(first.id, claimed.token, done())
    await queue.wake(first.ready + EVERY)
    assert len(await ledger.open_runs()) == 1


async def test_a_run_that_waits_until_tomorrow_keeps_nobody_waiting_until_then(
    memory: Memory, ledger: Ledger, redis: Redis
) -> None:
    now = await store_now(redis)
    tomorrow = now + timedelta(days=1)
    await memory.queue.wake(tomorrow)
    await memory.queue.wake()
    soon, late = sorted(await ledger.open_runs(), key=lambda run: run.ready)
    assert soon.ready - now < EVERY * 2
    assert late.ready >= tomorrow


async def test_messages_without_a_vector_can_be_made_to_wait(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1"), room.said("2", origin=Origin.SYSTEM), room.said("3")])
    await memory.embed()
    await memory.messages.observe([room.deleted("3")])
    await memory.embed()
    found = await memory.messages.find(ROOM, ["1", "2", "3"])

    assert await memory.queue.add(found.values(), memory.clock.now) == 1
    assert await memory.queue.add(found.values(), memory.clock.now) == 0
    assert [each.id for each in await memory.queue.take(memory.clock.now, 5)] == ["1"]


async def test_what_nothing_is_known_of_any_more_stops_waiting(memory: Memory, room: Room) -> None:
    await memory.messages.observe([room.said("1")])
    await memory.messages.redis.delete(memory.keys.message(ROOM, "1"))

    assert await memory.queue.take(memory.clock.now, 5) == []
    assert await memory.queue.count() == 0
