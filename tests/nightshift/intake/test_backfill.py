from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from nightshift.agents import agent
from nightshift.agents.agent import Agent
from nightshift.agents.liveness import GONE_AFTER, AgentLiveness, Presence
from nightshift.agents.settings import AgentSettings
from nightshift.base.errors import PlatformDown
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Subject
from nightshift.deployment import Deployment
from nightshift.intake.backfill import AT_ONCE, CHANNELS, HISTORY, TAKEN_BACK, Backfill, read_catalogue
from nightshift.intake.connections import SETTLED, Connections, Holder
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.message import Origin
from nightshift.memory.message_graph import EmbeddingModel
from nightshift.memory.messages import Messages
from nightshift.platforms.known import get_kind
from nightshift.platforms.platform import PastMessage, Platform, PlatformChannel, Readiness, Server
from nightshift.processes.signs_of_life import leave, report
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.forgetting import RunForgetter
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, RunRow, run_id
from nightshift.runs.states import Outcome, State
from nightshift.settings import Settings, load_settings
from nightshift.store.keys import Keys
from tests.nightshift.conftest import Room
from tests.nightshift.runs.model import Clock

LIFE = Holder("io@here", "1")
READY = Readiness(True, user_id="bot")
SETTINGS = Settings(agents={"night": AgentSettings(tenant="house")})


@dataclass
class ChatPlatform:
    """A platform that answers what the test says; an exception is raised instead."""

    name: str = "discord"
    kind: str = "discord"
    readiness: Readiness = READY
    servers: Any = ()
    histories: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    reading: int = 0
    most_reading: int = 0
    has_history: bool = True

    @property
    def servers_hold_channels(self) -> bool:
        return get_kind(self.kind).servers_hold_channels

    async def ready(self) -> Readiness:
        if isinstance(self.readiness, Exception):
            raise self.readiness
        return self.readiness

    async def servers_and_channels(self) -> Any:
        return _given(self.servers)

    async def history(self, channel_id: str, *, limit: int) -> Any:
        self.asked.append(channel_id)
        return _given(self.histories.get(channel_id, []))


def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def guild(*channels: str, id: str = "g") -> Server:
    return Server(id, "Guild", 40, tuple(PlatformChannel(each, f"#{each}") for each in channels))


@dataclass
class Scene:
    """A worker that looks, and carries out what it finds."""

    messages: Messages
    queue: EmbeddingQueue
    ledger: Ledger
    connections: Connections
    clock: Clock
    platforms: dict[str, ChatPlatform] = field(default_factory=dict)
    holder: Holder = LIFE
    model: EmbeddingModel | None = None
    patience: timedelta = timedelta(0)
    owners: dict[str, str] = field(default_factory=dict)

    @property
    def backfill(self) -> Backfill:
        async def model_of(tenant: str) -> EmbeddingModel | None:
            return self.model

        def owner_of(platform: str) -> Agent:
            return agent.of(SETTINGS, self.owners.get(platform, ""))

        return Backfill(
            cast(dict[str, Platform], self.platforms),
            owner_of,
            self.liveness.bots,
            self.connections,
            self.messages,
            self.queue,
            model_of,
            self.patience,
        )

    @property
    def liveness(self) -> AgentLiveness:
        return AgentLiveness(self.ledger.redis, self.ledger.keys, clock=self.clock)

    async def heard(self, process: str, since: datetime, *, platform: str = "discord") -> None:
        """A bot's sign of life."""
        presence = Presence(platform, process, "bot", since)
        await self.liveness.report(agent.of(SETTINGS, "night"), presence)

    async def look(self) -> RunRow:
        job = run_id("job:startup_channel_backfill", self.clock.now)
        await self.ledger.record(RunRequest(job, "job:startup_channel_backfill", self.clock.now, "t", "io"))

        async def work(run: Run) -> Outcome:
            return await self.backfill.look(run, self.holder)

        await self.carry_out(job, work)
        self.clock.now += timedelta(minutes=1)
        return await self.ledger.get(job)

    async def carry_out(self, run: str, work: Callable[[Run], Any]) -> State | str:
        return await carry_out(self.ledger, run, work, worker=self.holder.worker, message="m")

    async def open_runs(self) -> list[RunRow]:
        return [row for row in await self.ledger.open_runs() if row.source.startswith("backfill:")]

    async def read(self) -> dict[str, RunRow]:
        """Carry out every run there is, until there are none; by channel."""
        found: dict[str, RunRow] = {}
        while ready := [row for row in await self.open_runs() if row.ready <= self.clock.now]:
            for row in ready:
                await self.carry_out(row.id, self.backfill.read_channel)
                found[ChannelRef.parse(row.payload["channel"]).id] = await self.ledger.get(row.id)
        return found

    async def texts(self, channel: str, platform: str = "discord") -> list[str]:
        return [each.text for each in await self.messages.last(ChannelRef(platform, channel), 200)]

    def past(self, id: str, text: str = "hello", **more: Any) -> PastMessage:
        at = more.pop("at", self.clock.now - timedelta(hours=1))
        return PastMessage(id, **({"user_id": "ann", "user_name": "Ann"} | more), text=text, at=at)


@pytest.fixture
def scene(redis: Redis, keys: Keys, messages: Messages, clock: Clock) -> Scene:
    ledger = Ledger(redis, keys, clock=clock)
    queue = EmbeddingQueue(ledger, messages)
    return Scene(messages, queue, ledger, Connections(redis, keys), clock)


@pytest.fixture
def discord(scene: Scene) -> ChatPlatform:
    scene.platforms["discord"] = ChatPlatform()
    return scene.platforms["discord"]


async def test_a_platform_that_connects_has_its_channels_read(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a", "b")]
    discord.histories = {
        "a": [scene.past("1", "one"), scene.past("2", "two")],
        "b": [scene.past("3", "three")],
    }
    look = await scene.look()
    runs = await scene.read()

    assert (look.state, look.result["channels"]) == (State.DONE, {"discord": 2})
    assert (runs["a"].source, runs["a"].queue, runs["a"].result["new"]) == ("backfill:discord:a", "io", 2)
    assert (await scene.texts("a"), await scene.texts("b")) == (["one", "two"], ["three"])
    channel = await scene.messages.channels.get(ChannelRef("discord", "a"))
    assert (channel.name, channel.server_id, channel.server_name, channel.is_dm) == (
        "#a",
        "g",
        "Guild",
        False,
    )
    assert await scene.queue.count() == 3


async def test_channels_in_use_come_before_all_others(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    discord.servers = [guild("a", "lobby")]
    await scene.messages.observe([room.said("1")])
    await scene.look()

    assert list(await scene.read()) == ["lobby"]
    assert (await scene.messages.channels.get(room.ref)).server_name == "Guild"


async def test_ten_channels_are_read_two_at_once(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild(*(f"c{n}" for n in range(15)))]
    await scene.look()

    waiting = await scene.open_runs()
    claims = [await scene.ledger.claim(row.id, worker="w", message="m") for row in waiting]
    assert not any(isinstance(claim, str) for claim in claims[:AT_ONCE])
    assert claims[AT_ONCE:] == ["lane"] * (CHANNELS - AT_ONCE)


async def test_all_ten_are_read_in_the_end(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild(*(f"c{n}" for n in range(15)))]
    await scene.look()

    assert sorted(await scene.read()) == sorted(f"c{n}" for n in range(CHANNELS))


async def test_a_channel_that_is_forgotten_or_whose_run_is_cancelled_costs_no_other(
    scene: Scene, discord: ChatPlatform
) -> None:
    discord.servers = [guild(*(f"c{n}" for n in range(CHANNELS)))]
    await scene.look()
    await RunForgetter(scene.ledger).forget(Subject(ref := ChannelRef("discord", "c8"), (ref,)))
    (run,) = [row for row in await scene.open_runs() if row.source == "backfill:discord:c1"]
    await scene.ledger.cancel(run.id, reason="by hand")

    assert sorted(await scene.read()) == [f"c{n}" for n in (0, 2, 3, 4, 5, 6, 7, 9)]


async def test_it_is_done_once_for_each_connection(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a")]
    await scene.look()
    await scene.read()
    assert (await scene.look()).reason.startswith("no platform of [platforms.*] has connected since")
    discord.readiness = Readiness(False, "the network is away")
    assert (await scene.look()).result == {"down": {"discord": "the network is away"}}
    discord.readiness = READY
    await scene.look()

    assert await scene.read()
    connection = await scene.connections.find("discord")
    assert connection is not None
    assert (connection.number, connection.up) == (2, True)
    assert discord.asked == ["a", "a"]


async def test_a_worker_that_starts_anew_connects_anew(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a")]
    await scene.look()
    scene.holder = Holder(LIFE.worker, "2")
    assert (await scene.look()).state == State.DONE


async def test_a_second_worker_connects_anew_only_when_the_first_is_gone(
    scene: Scene, discord: ChatPlatform, redis: Redis, keys: Keys
) -> None:
    await report(redis, keys, LIFE.worker, "worker", {})
    await scene.look()
    scene.holder = Holder("io@there", "1")
    assert (await scene.look()).state == State.SKIPPED

    await report(redis, keys, "io@there", "worker", {})
    await leave(redis, keys, LIFE.worker)
    assert (await scene.look()).state == State.SKIPPED
    await leave(redis, keys, "io@there")
    scene.holder = Holder("io@third", "1")
    assert (await scene.look()).state == State.DONE


async def test_another_user_of_ours_is_another_connection(scene: Scene, discord: ChatPlatform) -> None:
    await scene.look()
    discord.readiness = Readiness(True, user_id="another")
    assert (await scene.look()).state == State.DONE


async def test_what_was_said_while_a_bot_was_away_is_read_once_it_is_back(
    scene: Scene, discord: ChatPlatform
) -> None:
    discord.servers = [guild("a")]
    since = scene.clock.now - timedelta(minutes=2)
    await scene.look()
    await scene.read()
    await scene.heard("one", since)
    assert (await scene.look()).state == State.SKIPPED, "it was connected before"

    scene.clock.now += timedelta(minutes=10)
    assert (await scene.look()).state == State.SKIPPED, "the bot is away"
    discord.histories = {"a": [scene.past("1", "while it was away")]}
    await scene.heard("two", scene.clock.now)
    scene.clock.now += timedelta(seconds=5)
    assert (await scene.look()).result["channels"] == {"discord": 1}
    await scene.read()
    assert await scene.texts("a") == ["while it was away"]
    assert (await scene.look()).state == State.SKIPPED, "once for each connection"


async def test_a_bot_that_was_away_for_less_than_a_look_has_connected_anew_too(
    scene: Scene, discord: ChatPlatform
) -> None:
    await scene.heard("one", scene.clock.now)
    await scene.look()
    since = scene.clock.now
    await scene.heard("one", since)
    scene.clock.now += SETTLED
    await scene.heard("one", since)
    assert (await scene.look()).state == State.DONE
    await scene.heard("one", since)
    assert (await scene.look()).state == State.SKIPPED


async def test_a_bot_that_says_each_time_that_it_has_just_connected_is_believed_once(
    scene: Scene, discord: ChatPlatform
) -> None:
    await scene.look()
    states = []
    for _ in range(3):
        await scene.heard("one", scene.clock.now)
        scene.clock.now += timedelta(seconds=29)
        states.append((await scene.look()).state)
    assert states == [State.DONE, State.SKIPPED, State.SKIPPED]


async def test_a_bot_on_another_platform_or_one_that_is_gone_connects_nothing(
    scene: Scene, discord: ChatPlatform
) -> None:
    await scene.look()
    await scene.heard("two", scene.clock.now)
    scene.clock.now += GONE_AFTER
    await scene.heard("one", scene.clock.now, platform="irc")
    assert (await scene.look()).state == State.SKIPPED


async def test_a_bot_that_connects_while_the_platform_is_away_waits_for_it(
    scene: Scene, discord: ChatPlatform
) -> None:
    await scene.look()
    discord.readiness = Readiness(False, "away")
    await scene.heard("one", scene.clock.now)
    assert (await scene.look()).state == State.SKIPPED
    discord.readiness = READY
    assert (await scene.look()).state == State.DONE


async def test_a_look_that_is_cut_off_after_it_noted_the_connection_is_made_up_for(
    scene: Scene, discord: ChatPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    discord.servers = [guild("a")]
    job = run_id("job:startup_channel_backfill", scene.clock.now)
    await scene.ledger.record(RunRequest(job, "job:startup_channel_backfill", scene.clock.now, "t", "io"))

    async def work(run: Run) -> Outcome:
        return await scene.backfill.look(run, LIFE)

    async def crash(*_: Any) -> int:
        raise RuntimeError("the process died")

    with monkeypatch.context() as patched:
        patched.setattr(Backfill, "_start", crash)
        assert await scene.carry_out(job, work) == State.WAITING
    scene.clock.now += timedelta(minutes=1)
    assert await scene.carry_out(job, work) == State.DONE
    assert list(await scene.read()) == ["a"]


async def test_platforms_that_are_still_connecting_are_waited_for_when_a_worker_starts(
    scene: Scene, discord: ChatPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightshift.intake.connections.ASK_AGAIN", timedelta(milliseconds=10))
    scene.patience = timedelta(seconds=5)
    answers = iter([Readiness(False, "connecting"), Readiness(False, "connecting")])

    async def ready() -> Readiness:
        return next(answers, READY)

    discord.ready = ready  # type: ignore[method-assign]
    discord.servers = [guild("a")]
    assert (await scene.look()).state == State.DONE

    # Later the next look is soon enough.
    discord.ready = ChatPlatform(readiness=Readiness(False, "away")).ready  # type: ignore[method-assign]
    before = asyncio.get_running_loop().time()
    await scene.look()
    assert asyncio.get_running_loop().time() - before < 1


# What the platforms tell of their channels


def listed(kind: str, *servers: Server) -> dict[str, tuple[str, str, bool]]:
    platform = cast(Platform, ChatPlatform("chat", kind))
    return {
        ref.id: (each.name, each.server_id, each.is_dm)
        for ref, each in read_catalogue(platform, servers).items()
    }


def test_channels_are_found_within_servers_and_rooms_are_channels_themselves() -> None:
    assert listed("discord", guild("a"), guild("b", id="h")) == {
        "a": ("#a", "g", False),
        "b": ("#b", "h", False),
    }
    assert listed("matrix", Server("!r:x", "Room", 5), Server("!d:x", "", 2, is_dm=True)) == {
        "!r:x": ("Room", "", False),
        "!d:x": ("", "", True),
    }


def test_a_server_without_channels_of_text_is_no_channel() -> None:
    assert listed("discord", guild()) == {}
    assert listed("slack", guild("c"), Server("D1", "ann", 2, is_dm=True)) == {
        "c": ("#c", "g", False),
        "D1": ("ann", "", True),
    }


def test_what_cannot_be_a_channels_id_costs_no_other() -> None:
    assert list(listed("discord", guild("", "x" * 300, "a:{}*", "b"))) == ["a:{}*", "b"]


async def test_a_conversation_of_two_is_noted_as_one(scene: Scene) -> None:
    scene.platforms["matrix"] = ChatPlatform(
        "matrix", "matrix", servers=[Server("!d:x", "Ann", 2, is_dm=True), Server("!r:x", "Room", 3)]
    )
    await scene.look()
    channels = [await scene.messages.channels.get(ChannelRef("matrix", id)) for id in ("!d:x", "!r:x")]
    assert [(each.is_dm, each.members) for each in channels] == [(True, 2), (False, 3)]


async def test_what_a_platform_lists_is_its_agents_unless_it_is_known_for_anothers(
    scene: Scene, discord: ChatPlatform
) -> None:
    scene.owners = {"discord": "night"}
    scene.platforms["local"] = ChatPlatform("local", "local", servers=[Server("lobby", "lobby")])
    taken = ChannelRef("discord", "b")
    await scene.messages.channels.record_metadata(taken, agent="scribe", tenant="house")
    discord.servers = [guild("a", "b")]
    discord.histories = {"a": [scene.past("1", user_id="bot")]}
    await scene.look()
    runs = await scene.read()

    channels = await scene.messages.channels.rows(
        [ChannelRef("discord", "a"), taken, ChannelRef("local", "lobby")]
    )
    assert [(each.tenant, each.agent) for each in channels] == [
        ("house", "night"),
        ("house", "scribe"),
        ("default", "default"),
    ]
    assert [(runs[id].tenant, runs[id].agent) for id in ("a", "b")] == [
        ("house", "night"),
        ("house", "scribe"),
    ]
    assert await scene.messages.own_users("house") == {UserRef("discord", "bot"): "night"}
    assert await scene.texts("a") == ["hello"]


async def test_no_past_is_read_for_another_tenant_than_the_platforms(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    await scene.messages.channels.record_metadata(room.ref, tenant="stranger", agent="spy")
    discord.servers = [guild(room.ref.id)]
    discord.histories = {"lobby": [scene.past("1")]}
    await scene.look()
    runs = await scene.read()
    assert (runs["lobby"].state, runs["lobby"].reason) == ("skipped", "discord is set up for another tenant")
    assert await scene.texts("lobby") == []


async def test_the_settings_say_whose_a_platforms_channels_are(
    redis_socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    for store in ("STATE", "BROKER", "GRAPH"):
        monkeypatch.setenv(f"NIGHTSHIFT_{store}_URL", f"unix://{redis_socket}?db=0")
    (tmp_path / "nightshift.toml").write_text(
        '[agents.night]\ntenant = "house"\n[platforms.there]\nkind = "discord"\ntoken = "t"\nagent = "night"'
    )
    async with Deployment(load_settings()) as here:
        owners = [here.intake.backfill.owner_of(platform) for platform in ("there", "local")]
    assert [(each.tenant, each.name) for each in owners] == [("house", "night"), ("default", "default")]


# What is in their past


async def test_where_there_is_no_past_none_is_asked_for_and_our_own_user_is_learnt_all_the_same(
    scene: Scene, discord: ChatPlatform
) -> None:
    discord.has_history = False
    discord.servers = [guild("a")]
    await scene.look()
    runs = await scene.read()
    assert (runs["a"].state, runs["a"].result["new"], discord.asked) == (State.DONE, 0, [])
    assert await scene.messages.own_users() == {UserRef("discord", "bot"): "default"}


async def test_a_text_that_changed_meanwhile_is_repaired_and_embedded_anew(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    await scene.messages.observe(
        [room.said("1", "before", at=scene.clock.now - timedelta(hours=1)), room.said("2")]
    )
    known = await scene.messages.find(room.ref, ["1", "2"])
    await scene.messages.mark_embedded(list(known.values()), "small")
    scene.model = EmbeddingModel("small", 2)
    discord.histories = {"lobby": [scene.past("1", "after"), scene.past("2", at=scene.clock.now)]}
    await scene.look()
    runs = await scene.read()

    told = runs["lobby"].result
    assert (told["new"], told["repaired"], told["known"], told["unembedded"]) == (0, 1, 1, 0)
    assert (await scene.texts("lobby"))[0] == "after"
    assert [each.id for each in await scene.queue.take(scene.clock.now, 5)] == ["1"]


async def test_what_was_taken_back_meanwhile_is_shown_to_nobody_any_more(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    await scene.messages.observe([room.said("1", "a secret"), room.said("2", "good night")])
    known = await scene.messages.find(room.ref, ["1", "2"])
    await scene.messages.mark_embedded(list(known.values()), "small")
    before = await scene.messages.digest(room.ref)
    scene.model = EmbeddingModel("small", 2)
    discord.histories = {
        "lobby": [
            scene.past("1", "", taken_back=True),
            scene.past("2", "good night"),
            scene.past("3", "me too"),
        ]
    }
    await scene.look()
    told = (await scene.read())["lobby"].result

    assert (told["taken_back"], told["new"], told["known"]) == (1, 1, 1)
    assert await scene.texts("lobby") == ["me too", "good night"]
    assert (await scene.messages.find(room.ref, ["1"]))["1"].deleted
    assert await scene.messages.digest(room.ref) != before
    # The vector of the one goes, the other comes to have one; and that is all.
    assert [each.id for each in await scene.queue.take(scene.clock.now, 5)] == ["1", "3"]
    assert told["unembedded"] == 0


async def test_what_nobody_knew_before_it_was_taken_back_is_not_new_and_stays_away(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    discord.servers = [guild("lobby")]
    discord.histories = {"lobby": [scene.past("1", "", taken_back=True), scene.past("2", "two")]}
    await scene.look()
    told = (await scene.read())["lobby"].result
    await scene.messages.observe([room.said("1", "told late")])

    assert (told["taken_back"], told["new"], told["unembedded"]) == (1, 1, 0)
    assert [each.text for each in await scene.messages.last(room.ref, 1)] == ["two"]
    assert await scene.texts("lobby") == ["two"]
    assert [each.id for each in await scene.queue.take(scene.clock.now, 5)] == ["2"]


async def test_however_much_was_taken_back_no_message_is_left_out_for_it(
    scene: Scene, discord: ChatPlatform
) -> None:
    discord.servers = [guild("a")]
    said = [scene.past(f"{n}", f"n{n}") for n in range(HISTORY)]
    discord.histories = {"a": [*said, *(scene.past(f"t{n}", "", taken_back=True) for n in range(1000))]}
    await scene.look()
    told = (await scene.read())["a"].result

    assert (told["new"], told["taken_back"], told["refused"]) == (HISTORY, TAKEN_BACK, 0)
    assert len(await scene.texts("a")) == HISTORY


async def test_what_has_no_vector_of_the_model_there_is_now_comes_to_wait_for_one(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    await scene.messages.observe([room.said("1"), room.said("2")])
    known = await scene.messages.find(room.ref, ["1", "2"])
    await scene.messages.mark_embedded([known["1"]], "small")
    await scene.messages.mark_embedded([known["2"]], "of before")
    scene.model = EmbeddingModel("small", 2)
    discord.histories = {"lobby": [scene.past(id, at=scene.clock.now) for id in ("1", "2")]}
    await scene.look()

    assert (await scene.read())["lobby"].result["unembedded"] == 1
    assert [each.id for each in await scene.queue.take(scene.clock.now, 5)] == ["2"]


async def test_the_bots_own_words_are_known_for_an_agents(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a")]
    discord.histories = {
        "a": [
            scene.past("1", user_id="bot"),
            scene.past("2", user_id="other bot", is_bot=True),
            scene.past("3", user_id="ann"),
        ]
    }
    await scene.look()
    await scene.read()
    found = await scene.messages.find(ChannelRef("discord", "a"), ["1", "2", "3"])

    assert [found[id].origin for id in "123"] == [Origin.AGENT, Origin.AGENT, Origin.HUMAN]
    assert UserRef("discord", "bot") in await scene.messages.own_users()


async def test_nothing_that_was_forgotten_or_taken_back_comes_back(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    past = [
        scene.past("1", "a secret"),
        scene.past("2", "tea", user_id="bob"),
        scene.past("3", "oops", user_id="bob"),
    ]
    await scene.messages.observe([room.said("3", "oops", user_id="bob"), room.deleted("3")])
    await scene.messages.forget_user(UserRef("discord", "ann"))
    discord.histories = {"lobby": past}
    await scene.look()
    runs = await scene.read()

    assert runs["lobby"].result["refused"] == 1
    assert await scene.texts("lobby") == ["tea"]


async def test_a_forgotten_channel_stays_forgotten(scene: Scene, discord: ChatPlatform, room: Room) -> None:
    await scene.messages.observe([room.said("1", "a secret")])
    await scene.messages.forget_channel(room.ref)
    discord.servers = [guild("lobby")]
    discord.histories = {"lobby": [scene.past("1", "a secret")]}
    await scene.look()
    await scene.read()

    assert await scene.texts("lobby") == []
    assert await scene.messages.channels.find(room.ref) is None


async def test_a_second_attempt_goes_on_from_where_the_first_had_come(
    scene: Scene, discord: ChatPlatform
) -> None:
    discord.servers = [guild("a")]
    discord.histories = {"a": [scene.past("1"), scene.past("2")]}
    await scene.look()
    (run,) = await scene.open_runs()
    wake = scene.queue.wake

    async def crash(at: datetime | None = None) -> None:
        raise RuntimeError("the process died")

    scene.queue.wake = crash  # type: ignore[method-assign]
    assert await scene.carry_out(run.id, scene.backfill.read_channel) == State.WAITING
    scene.queue.wake = wake  # type: ignore[method-assign]
    scene.clock.now += timedelta(minutes=10)
    assert (await scene.read())["a"].result["new"] == 2
    assert len(await scene.texts("a")) == 2


# Platforms that are down, half up, or lie


@pytest.mark.parametrize(
    "broken",
    [
        ChatPlatform("broken", readiness=Readiness(False, "down")),
        ChatPlatform("broken", readiness=cast(Any, RuntimeError("it promised never to"))),
        ChatPlatform("broken", servers=PlatformDown("half up")),
        ChatPlatform("broken", servers=[object()]),
        ChatPlatform("broken", servers=None),
    ],
    ids=["down", "raises", "half up", "garbage", "nothing"],
)
async def test_a_platform_that_is_broken_costs_only_its_own_channels(
    scene: Scene, discord: ChatPlatform, broken: ChatPlatform
) -> None:
    scene.platforms = {"broken": broken, "discord": discord}
    discord.servers = [guild("a")]
    discord.histories = {"a": [scene.past("1")]}
    await scene.look()

    assert list(await scene.read()) == ["a"]
    assert await scene.texts("a") == ["hello"]


@pytest.mark.parametrize(
    "history",
    [PlatformDown("away"), RuntimeError("what?"), [object()], None, KeyError("id")],
    ids=["down", "raises", "garbage", "nothing", "key"],
)
async def test_a_channel_that_cannot_be_read_costs_no_other(
    scene: Scene, discord: ChatPlatform, history: Any
) -> None:
    discord.servers = [guild("a", "b", "c", "d")]
    discord.histories = {"a": history, "c": [scene.past("1")]}
    await scene.look()
    runs = await scene.read()

    assert runs["a"].state == State.WAITING
    assert {runs[id].state for id in "bcd"} == {State.DONE}
    assert await scene.texts("c") == ["hello"]


async def test_without_a_catalogue_the_channels_in_use_are_read_all_the_same(
    scene: Scene, discord: ChatPlatform, room: Room
) -> None:
    discord.servers = PlatformDown("half up")
    await scene.messages.observe([room.said("1")])
    await scene.look()
    assert list(await scene.read()) == ["lobby"]


async def test_more_history_than_was_asked_for_is_cut(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a")]
    many: Sequence[PastMessage] = [
        scene.past(f"{n}", f"n{n}", at=scene.clock.now - timedelta(hours=5) + timedelta(seconds=n))
        for n in range(HISTORY * 10)
    ]
    discord.histories = {"a": many}
    await scene.look()
    await scene.read()
    assert (await scene.texts("a"))[0] == f"n{HISTORY * 9}"
    assert len(await scene.texts("a")) == HISTORY


async def test_a_platform_that_is_no_longer_set_ends_its_runs(scene: Scene, discord: ChatPlatform) -> None:
    discord.servers = [guild("a")]
    await scene.look()
    scene.platforms = {}
    assert (await scene.read())["a"].state == State.FAILED


async def test_messages_that_wait_for_a_run_nobody_called_get_one_from_the_next_look(
    scene: Scene, room: Room
) -> None:
    await scene.messages.observe([room.said("1")])
    await scene.look()
    assert [row.source for row in await scene.ledger.open_runs()] == ["embedding"]


async def test_without_a_graph_nothing_comes_to_wait_for_a_vector(
    scene: Scene, discord: ChatPlatform, keys: Keys
) -> None:
    scene.queue = EmbeddingQueue(scene.ledger, scene.messages, off="no graph is set")
    discord.servers = [guild("a")]
    discord.histories = {"a": [scene.past("1")]}
    await scene.look()
    runs = await scene.read()
    assert "unembedded" not in runs["a"].result
    assert [row.source for row in await scene.ledger.open_runs()] == []
