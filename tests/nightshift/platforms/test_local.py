from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadQuery
from nightshift.platforms.local import BOT, MESSAGES, LocalPlatform
from nightshift.platforms.platform import Outgoing, Server
from nightshift.store.client import new_client
from nightshift.store.keys import Keys


@pytest.fixture
def local(redis: Redis, keys: Keys) -> LocalPlatform:
    return LocalPlatform("local", redis, keys)


async def test_people_and_the_bot_talk_in_a_room(local: LocalPlatform) -> None:
    asked = await local.say("garden", "ann", "Who waters the roses?")
    answered = await local.send(Outgoing("garden", "I do.", key="run/0", reply_to=asked.message_id))
    question, answer = await local.history("garden", limit=100)
    assert (question.message_id, question.user_name, question.is_bot) == (asked.message_id, "ann", False)
    assert (answer.message_id, answer.user_id, answer.is_bot) == (answered.message_id, BOT, True)
    assert (question.text, answer.text) == ("Who waters the roses?", "I do.")
    assert answer.reply_to == question.message_id
    assert abs(answer.at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_the_same_key_is_said_once(local: LocalPlatform) -> None:
    first = await local.send(Outgoing("garden", "Good morning", key="run/0"))
    assert await local.send(Outgoing("garden", "Good morning", key="run/0")) == first
    await local.send(Outgoing("garden", "Good morning", key="run/1"))
    assert len(await local.history("garden", limit=100)) == 2


async def test_people_may_say_the_same_twice(local: LocalPlatform) -> None:
    for _ in range(2):
        await local.say("garden", "ann", "Hello?")
    assert len(await local.history("garden", limit=100)) == 2


async def test_the_last_messages_are_told_oldest_first(local: LocalPlatform) -> None:
    for number in range(5):
        await local.say("garden", "ann", str(number))
    assert [each.text for each in await local.history("garden", limit=3)] == ["2", "3", "4"]
    assert await local.history("nowhere", limit=3) == []


async def test_rooms_are_listed_by_their_last_use_whatever_they_are_called(local: LocalPlatform) -> None:
    odd = "a:{b}*?[c] ü"
    await local.say(odd, "ann", "one")
    await local.say("garden", "ann", "two")
    assert {each.id for each in await local.servers_and_channels()} == {odd, "garden"}
    assert await local.servers_and_channels() != [Server("garden", "garden")]
    assert [each.text for each in await local.history(odd, limit=9)] == ["one"]


@pytest.mark.parametrize("room", ["", "a\nb", "x" * 256])
async def test_what_is_no_name_makes_no_room(local: LocalPlatform, room: str) -> None:
    with pytest.raises(BadQuery):
        await local.say(room, "ann", "Hello")
    assert await local.servers_and_channels() == []


async def test_a_room_keeps_a_bounded_number_of_messages(
    local: LocalPlatform, redis: Redis, keys: Keys
) -> None:
    pipeline = redis.pipeline(transaction=False)
    for _ in range(3 * MESSAGES):
        pipeline.xadd(keys.room("garden"), {"said": '{"user_id": "ann", "user_name": "ann", "text": "x"}'})
    await pipeline.execute()
    await local.say("garden", "ann", "last")
    assert await redis.xlen(keys.room("garden")) <= 1.1 * MESSAGES
    assert (await local.history("garden", limit=1))[0].text == "last"


async def test_what_a_person_said_is_forgotten_in_every_room(
    local: LocalPlatform, redis: Redis, keys: Keys
) -> None:
    for room in ("garden", "kitchen"):
        await local.say(room, "ann", "my canary is yellow")
        await local.say(room, "bob", "mine is green")
    assert await local.forget_user("ann") == 2
    assert await local.forget_user("ann") == 0
    assert [each.user_name for each in await local.history("garden", limit=9)] == ["bob"]
    await local.forget_room("kitchen")
    assert [each.id for each in await local.servers_and_channels()] == ["garden"]
    assert not await redis.exists(keys.room("kitchen"))


async def test_with_a_person_goes_what_we_said_in_the_rooms_where_they_spoke(local: LocalPlatform) -> None:
    for room in ("garden", "kitchen", "cellar"):
        await local.say(room, "bob", "mine is green")
        await local.send(Outgoing(room, "as ann says, hers is yellow", room))
    await local.say("garden", "ann", "my canary is yellow")
    assert await local.forget_user("ann", {"kitchen"}, dry_run=True) == 3
    assert await local.forget_user("ann", {"kitchen"}) == 3
    left = {room: len(await local.history(room, limit=9)) for room in ("garden", "kitchen", "cellar")}
    assert left == {"garden": 1, "kitchen": 1, "cellar": 2}


async def test_without_the_store_it_is_not_ready(keys: Keys) -> None:
    async with new_client("redis://127.0.0.1:1/0", retries=0, timeout=1) as away:
        readiness = await LocalPlatform("local", away, keys).ready()
    assert not readiness.ready
    assert "store does not answer" in readiness.why
