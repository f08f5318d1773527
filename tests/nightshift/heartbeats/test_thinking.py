"""Looks into a channel: what the model is shown, and what may come of its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.agents import agent as agents
from nightshift.agents.agent import Agent
from nightshift.base.errors import NightshiftError, StoreFull, StoreUnreachable
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.gates import Gate
from nightshift.heartbeats.thinking import Thinking, marks
from nightshift.llm.models import Models
from nightshift.money.caps import Caps
from nightshift.money.payer import Level
from nightshift.money.settings import BudgetSettings
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.row import RunId, RunRow, run_id
from nightshift.runs.states import State
from nightshift.store.keys import Keys
from tests.nightshift.heartbeats.injections import INJECTIONS
from tests.nightshift.heartbeats.model import Model, asked_model
from tests.nightshift.heartbeats.scene import ROOM, Scene


@dataclass(frozen=True)
class Handed:
    """What the agent's runner was given."""

    run: str
    agent: str
    ref: ChannelRef
    cause: str
    text: str


class Looks:
    """Visits whose runs are carried out, with a runner that remembers."""

    def __init__(self, scene: Scene, model: Model, models: Models) -> None:
        self.scene = scene
        self.model = model
        self.handed: list[Handed] = []
        self.broken = False
        self.away: NightshiftError | None = None
        self.thinking = Thinking(
            models=models,
            messages=scene.messages,
            channels=scene.messages.channels,
            visits=scene.visits,
            rules=scene.book,
            agent_of=partial(agents.of, scene.settings),
            hand_on=self.hand_on,
        )

    async def hand_on(self, run: Run, agent: Agent, ref: ChannelRef, cause: str, text: str) -> RunId:
        if self.broken:
            raise RuntimeError("the process ends here")
        if self.away:
            raise self.away
        self.handed.append(Handed(run.id, agent.name, ref, cause, text))
        return RunId(f"work:{run.id}")

    async def look(self) -> RunRow:
        """Have the channel's next visit pass and its run be carried out."""
        await self.scene.say(f"something new at {self.scene.now}")
        await self.scene.visits.touched(ROOM)
        visited = await self.scene.visit()
        assert visited.verdict.passes, visited.verdict
        assert visited.run
        await self.carry_out(visited.run)
        return await self.scene.ledger.get(visited.run)

    async def carry_out(self, run: str) -> None:
        await carry_out(self.scene.ledger, run, self.thinking.think, worker="w", message="m")


@pytest.fixture
async def looks(redis: Redis, keys: Keys, scene: Scene) -> AsyncIterator[Looks]:
    async with asked_model(redis, keys) as (model, models):
        yield Looks(scene, model, models)


async def test_a_look_that_finds_nothing_to_say_is_neither_delivered_nor_remembered(looks: Looks) -> None:
    before = await looks.scene.messages.count(ROOM)
    run = await looks.look()
    assert run.state is State.DONE
    assert (run.result["act"], run.result["prompt"]) == (False, "heartbeat.v1")
    assert run.cost == 123
    assert not looks.handed
    assert await looks.scene.messages.count(ROOM) == before + 1  # the person's own
    row = await looks.scene.row()
    assert row.thought_at == run.started
    assert row.digest == await looks.scene.messages.digest(ROOM)
    assert not row.acts


async def test_the_request_carries_no_tools_and_a_schema(looks: Looks) -> None:
    await looks.look()
    (request,) = looks.model.requests
    assert not {"tools", "tool_choice", "functions", "function_call"} & set(request)
    schema = request["response_format"]["json_schema"]["schema"]
    assert set(schema["properties"]) == {"act", "why", "topic", "say"}
    assert 0 < (request.get("max_tokens") or request["max_completion_tokens"]) <= 400


async def test_only_who_has_something_to_say_wakes_the_agent_and_only_for_its_own_channel(
    looks: Looks,
) -> None:
    looks.model.decide("The release is due today.", topic="release")
    run = await looks.look()
    assert looks.handed == [Handed(run.id, "default", ROOM, "heartbeat", "The release is due today.")]
    assert run.result["work"] == f"work:{run.id}"


@pytest.mark.parametrize(("act", "say"), [(True, "  "), (True, None), (False, "Hello!")])
async def test_an_answer_that_is_not_both_yes_and_words_is_a_no(
    looks: Looks, act: bool, say: str | None
) -> None:
    looks.model.decision |= {"act": act, "say": say}
    run = await looks.look()
    assert (run.result["act"], looks.handed) == (False, [])


async def test_the_same_is_not_said_twice_within_a_day_however_it_is_put(looks: Looks) -> None:
    looks.model.decide("The release is due today.", topic="Release date")
    await looks.look()
    looks.model.decide("Do not forget: the release!", topic="release  DATE.")
    run = await looks.look()
    assert run.result["dropped"].startswith("repeated: the same was said at 2026-11-20")
    looks.model.decide("the RELEASE is due today", topic="deadline")
    assert (await looks.look()).result["dropped"].startswith("repeated")
    assert len(looks.handed) == 1
    looks.scene.clock.move(days=1)
    looks.model.decide("The release is due today.", topic="Release date")
    await looks.look()
    assert len(looks.handed) == 2


async def test_a_fifth_time_within_a_day_is_dropped_and_the_next_beats_are_not_even_paid(
    looks: Looks,
) -> None:
    for n in range(4):
        looks.model.decide(f"Matter {n} needs a word.", topic=f"matter {n}")
        await looks.look()
    assert len(looks.handed) == 4
    await looks.scene.say("more")
    await looks.scene.visits.touched(ROOM)
    assert (await looks.scene.visit()).verdict.gate is Gate.ACTS
    refused = await looks.scene.visits.may_act(ROOM, "another", ["x"], "", looks.scene.rules)
    assert refused == ("enough", 4)


async def test_a_second_attempt_neither_pays_nor_speaks_twice(looks: Looks) -> None:
    looks.model.decide("The release is due today.")
    looks.broken = True
    run = await looks.look()
    assert (run.state, run.attempts) == (State.WAITING, 1)
    looks.broken = False
    looks.scene.clock.move(minutes=1)
    await looks.carry_out(run.id)
    assert (await looks.scene.ledger.get(run.id)).state is State.DONE
    assert (len(looks.model.requests), len(looks.handed)) == (1, 1)


@pytest.mark.parametrize(
    ("status", "paused"),
    [
        (400, True),  # it makes no sense of what is said here
        (500, False),  # it is unwell, wherever it looks
        (429, False),
        (401, False),
    ],
)
async def test_failures_back_off_further_and_further_and_pause_the_channel_whose_they_are(
    looks: Looks, status: int, paused: bool
) -> None:
    looks.model.status = status
    pauses = []
    for _ in range(5):
        run = await looks.look()
        assert run.state is State.FAILED
        row = await looks.scene.row()
        assert row.next_at
        assert run.started
        pauses.append((row.next_at - run.started).total_seconds())
        # The breaker would spare the model the rest.
        await looks.scene.redis.delete(looks.scene.keys.breaker("main"))
    assert pauses == [60, 60, 300, 900, 3600]  # 30 s would be within the spacing of two looks
    await looks.look()
    channel = await looks.scene.messages.channels.get(ROOM)
    assert ("failed 6 times" in channel.paused_by) is paused
    assert (await looks.scene.row()).failures == (0 if paused else 6)


async def test_one_success_ends_the_row_of_failures(looks: Looks) -> None:
    looks.model.status = 400
    await looks.look()
    row = await looks.scene.row()
    assert (row.failures, row.own_failures) == (1, 1)
    looks.model.status = 200
    await looks.look()
    row = await looks.scene.row()
    assert (row.failures, row.own_failures) == (0, 0)


async def test_a_night_of_429s_brings_a_channel_no_nearer_to_being_paused(
    looks: Looks,
) -> None:
    looks.model.status = 429
    for _ in range(6):
        await looks.look()
        await looks.scene.redis.delete(looks.scene.keys.breaker("main"))
    looks.model.status, looks.model.decision = 200, {"no": "decision"}
    for own in range(1, 6):
        assert (await looks.look()).reason.startswith("BadAnswer")
        row = await looks.scene.row()
        assert (row.failures, row.own_failures) == (6 + own, own)
        assert not (await looks.scene.messages.channels.get(ROOM)).paused_by
    await looks.look()
    channel = await looks.scene.messages.channels.get(ROOM)
    assert "failed 6 times: BadAnswer" in channel.paused_by


async def test_a_storm_of_429_is_left_alone_for_as_long_as_it_asks(looks: Looks) -> None:
    looks.model.status, looks.model.headers = 429, {"Retry-After": "1200"}
    run = await looks.look()
    row = await looks.scene.row()
    assert row.next_at
    assert run.started
    assert row.next_at - run.started == timedelta(seconds=1200)
    assert len(looks.model.requests) == 1


@pytest.mark.parametrize("away", [StoreUnreachable("it does not answer"), StoreFull("it has no room")])
async def test_what_was_decided_is_said_once_the_store_is_back_if_it_was_away_meanwhile(
    looks: Looks, away: NightshiftError
) -> None:
    looks.model.decide("The release is due today.", topic="release")
    looks.away = away
    run = await looks.look()
    assert (run.state, run.reason.endswith(str(away))) == (State.WAITING, True)
    row = await looks.scene.row()
    assert row.failures == 0
    looks.away = None
    looks.scene.clock.now = run.ready
    await looks.carry_out(run.id)
    assert [each.text for each in looks.handed] == ["The release is due today."]
    assert len(looks.model.requests) == 1
    assert (await looks.scene.ledger.get(run.id)).state is State.DONE


async def test_a_freeze_that_comes_meanwhile_ends_the_look_without_counting_as_a_failure(
    looks: Looks,
) -> None:
    from nightshift.controls.freeze import Freeze

    freeze = Freeze(looks.scene.redis, looks.scene.keys)
    await freeze.freeze("ada", "enough")
    run = await looks.look()
    assert (run.state, "ada froze" in run.reason) == (State.SKIPPED, True)
    assert not looks.model.requests
    assert (await looks.scene.row()).failures == 0


async def test_a_look_that_there_was_no_room_for_is_not_begun_again_before_there_is(looks: Looks) -> None:
    scene = looks.scene
    caps = Caps(scene.redis, scene.keys, BudgetSettings())
    await caps.set(Level.DAY, "", 100, by="ada")
    run = await looks.look()
    assert (run.state, "no room for a call" in run.reason) == (State.SKIPPED, True)
    assert not looks.model.requests
    needs = (await scene.row()).needs
    assert needs > 100

    scene.world.broke = "no room"
    await scene.say("and more")
    assert (await scene.visit()).verdict.gate is Gate.BUDGET
    assert scene.world.asked_for == needs

    scene.world.broke = ""
    await caps.set(Level.DAY, "", 1_000_000, by="ada")
    assert (await looks.look()).state is State.DONE
    assert (await scene.row()).needs == 0


async def test_what_the_model_is_shown_is_this_channels_own_and_bounded(looks: Looks) -> None:
    other = ChannelRef("discord", "board")
    await looks.scene.say("the merger is on", ref=other)
    await looks.scene.say("x" * 30_000)
    for n in range(60):
        await looks.scene.say(f"word {n} " + "y" * 2_000)
    await looks.look()
    body = looks.model.bodies[0]
    assert "merger" not in body
    assert len(body) < 20_000
    assert "something new at" in body


@pytest.mark.parametrize("acts", [False, True], ids=["declines", "is taken in"])
async def test_no_message_makes_a_look_do_more_than_say_a_few_words_where_it_looked(
    redis: Redis, keys: Keys, now: datetime, monkeypatch: pytest.MonkeyPatch, acts: bool
) -> None:
    """Whether the model withstands a message or not, the same few things can come of it."""
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", "redis://:hidden-password@127.0.0.1/0")
    scene = Scene(redis, keys, now, model={"key": "sk-hidden-key"}, web_token="hidden-token")
    assert len(INJECTIONS) == 50
    assert len(set(INJECTIONS)) == 50
    async with asked_model(redis, keys) as (model, models):
        looks = Looks(scene, model, models)
        for n, text in enumerate(INJECTIONS):
            ref = ChannelRef("discord", str(n))
            await scene.say("good morning", ref=ref)
            await scene.say(text, ref=ref, user_name=text)
            await scene.adopt(ref)
            if acts:
                # The worst: the model does as the message says, word for word.
                model.decide(text.encode(errors="replace").decode(), topic=f"{n}")
            visited = await scene.visiting.visit_now(ref, now=scene.now)
            assert visited
            assert visited.run == run_id(f"heartbeat:{ref}", scene.now)
            row = await scene.row(ref)
            await looks.carry_out(visited.run)
            after = await scene.row(ref)
            assert (after.next_at, after.generation, after.interval) == (
                row.next_at,
                row.generation,
                row.interval,
            )
        assert await redis.hgetall(keys.heartbeat_rules) == {}
        assert [each.ref for each in looks.handed] == (
            [ChannelRef("discord", str(n)) for n in range(50)] if acts else []
        )
        for body in model.bodies:
            assert "hidden" not in body
            assert "NIGHTSHIFT_STATE" not in body.replace("that begin with NIGHTSHIFT_", "")
            _assert_message_stays_data(json.loads(body))


def _assert_message_stays_data(request: dict[str, Any]) -> None:
    assert not {"tools", "functions"} & set(request)
    system, user = request["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith("You keep watch over one chat channel")
    assert "good morning" not in system["content"]
    *_, block = user["content"].split("messages:\n```json\n")
    said, end = block.rsplit("\n```", 1)
    assert end == ""
    assert "`" not in said
    assert json.loads(said)[0]["text"] == "good morning"


def test_marks_find_a_text_again_and_hold_no_word_of_it() -> None:
    assert marks("Release", "It is due!") == marks(" release. ", "it is DUE")
    assert marks("", "") == []
    assert not any("due" in mark for mark in marks("due", "due soon"))
