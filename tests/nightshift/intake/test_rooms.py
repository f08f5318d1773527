from __future__ import annotations

import asyncio
from random import Random

import pytest
from redis.asyncio import Redis

from nightshift.agents.settings import AgentSettings
from nightshift.base.errors import BadQuery, RefusedByPlatform, UnknownAgent
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.forgetting import Forgetting
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.intake.observing import Observer
from nightshift.intake.rooms import LONGEST, Rooms
from nightshift.memory.forgetting import MessageForgetter
from nightshift.memory.limits import Limits
from nightshift.memory.messages import Messages
from nightshift.platforms.local import LocalPlatform
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.store.keys import Keys

LOBBY = ChannelRef("local", "lobby")


@pytest.fixture
def rooms(redis: Redis, keys: Keys) -> Rooms:
    settings = Settings(agents={"night": AgentSettings()})
    messages, beats = Messages(redis, keys, Limits()), Visits(redis, keys, lot=Random(1))
    observer = Observer(redis, keys, messages, beats, settings)
    return Rooms(LocalPlatform("local", redis, keys), observer, settings)


async def test_what_a_person_says_stands_in_the_room_and_in_memory_as_one_message(rooms: Rooms) -> None:
    assert await rooms.say("lobby", "ann", "good\0 evening \ud800") == "new"
    [said] = await rooms.platform.history("lobby", limit=10)
    [remembered] = await rooms.observer.messages.last(LOBBY, 10)
    assert (said.message_id, said.at) == (remembered.id, remembered.at)
    assert said.text == remembered.text == "good evening ?"
    assert (remembered.user_id, remembered.agent, remembered.own) == ("ann", "default", False)


async def test_a_word_in_a_room_wakes_a_heartbeat_that_had_grown_tired(rooms: Rooms, redis: Redis) -> None:
    await rooms.say("lobby", "ann", "good evening")
    beats = rooms.observer.visits
    await beats.adopt({LOBBY: None}, HeartbeatRules(), now=await store_now(redis))
    await redis.hset(rooms.observer.keys.visit(str(LOBBY)), "unchanged", 9)
    await rooms.say("lobby", "ann", "anybody there?")
    row = await beats.find(LOBBY)
    assert row
    assert row.unchanged == 0


async def test_the_agent_whose_channel_it_is_remembers_it(rooms: Rooms) -> None:
    channels = rooms.observer.messages.channels
    await channels.record_metadata(LOBBY, name="Lobby", agent="night")
    assert await rooms.say("lobby", "ann", "good evening") == "new"
    [remembered] = await rooms.observer.messages.last(LOBBY, 10)
    assert remembered.agent == "night"


@pytest.mark.parametrize(
    ("room", "text", "agent", "refusal"),
    [
        ("lobby", "x" * (LONGEST + 1), "default", BadQuery),
        ("lobby", " \n", "default", RefusedByPlatform),
        ("two\nlines", "hello", "default", BadQuery),
        # an agent that the settings no longer name
        ("lobby", "hello", "gone", UnknownAgent),
    ],
)
async def test_what_cannot_be_said_stands_nowhere(
    rooms: Rooms, room: str, text: str, agent: str, refusal: type[Exception]
) -> None:
    await rooms.observer.messages.channels.record_metadata(LOBBY, agent=agent)
    with pytest.raises(refusal):
        await rooms.say(room, "ann", text)
    assert await rooms.platform.servers_and_channels() == []


async def test_whoever_was_forgotten_may_speak_again(rooms: Rooms, redis: Redis, keys: Keys) -> None:
    await rooms.say("lobby", "ann", "a secret")
    messages = rooms.observer.messages
    forgetting = Forgetting(redis, keys, [MessageForgetter(messages)], spoke_in=[messages.channels_of])
    await forgetting.forget(UserRef("local", "ann"), by="ben")
    await asyncio.sleep(0.002)  # what is said within the same millisecond is forgotten too
    assert await rooms.say("lobby", "ann", "hello again") == "new"
    assert [each.text for each in await rooms.observer.messages.last(LOBBY, 10)] == ["hello again"]
