"""The Matrix adapter and a real Synapse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from nightshift.base.errors import PlatformDown, RateLimited, RefusedByPlatform
from nightshift.platforms.matrix import MatrixPlatform
from nightshift.platforms.platform import Outgoing
from tests.matrix.synapse import BURST, Synapse, User

pytestmark = pytest.mark.homeserver

LONG = '🌙"\n' * 200_000


@pytest.fixture
async def matrix(bot: User) -> AsyncIterator[MatrixPlatform]:
    matrix = MatrixPlatform("matrix", bot.url, lambda: bot.token)
    yield matrix
    await matrix.close()


async def test_it_knows_who_it_is(matrix: MatrixPlatform, bot: User) -> None:
    readiness = await matrix.ready()
    assert (readiness.ready, readiness.user_id) == (True, bot.id)


async def test_a_token_that_is_not_ours_is_told(homeserver: Synapse) -> None:
    matrix = MatrixPlatform("matrix", homeserver.url, lambda: "syt_somebody-else")
    readiness = await matrix.ready()
    with pytest.raises(PlatformDown, match="check the token"):
        await matrix.send(Outgoing("!room:localhost", "Hello", key="k"))
    await matrix.close()
    assert not readiness.ready
    assert "check the token in [platforms.matrix]" in readiness.why


async def test_the_same_key_is_sent_once(matrix: MatrixPlatform, room: str) -> None:
    key = "heartbeat:matrix:%21room%3Alocalhost@2026-11-20T12:00:00Z/0"
    first = await matrix.send(Outgoing(room, "Good morning", key=key))
    again = await matrix.send(Outgoing(room, "Good morning", key=key))
    other = await matrix.send(Outgoing(room, "Good morning", key=f"{key}1"))
    assert first.message_id == again.message_id != other.message_id
    assert [each.message_id for each in await matrix.history(room, limit=100)] == [
        first.message_id,
        other.message_id,
    ]


async def test_history_is_as_people_now_see_it(
    matrix: MatrixPlatform, ann: User, bot: User, room: str
) -> None:
    asked = ann.say(room, "Who waters the rozes?")
    ann.edit(room, asked, "Who waters the roses?")
    ann.edit(room, asked, "Who waters the red roses?")
    bot.edit(room, asked, "I owe everybody money")  # the homeserver takes it, but it is nobody's edit
    answered = await matrix.send(Outgoing(room, "I do. @room", key="run/0", reply_to=asked))
    question, answer = await matrix.history(room, limit=100)
    assert (question.message_id, question.user_id, question.text) == (
        asked,
        ann.id,
        "Who waters the red roses?",
    )
    assert question.user_name == ann.id.removeprefix("@").split(":")[0]
    assert question.edited_at
    assert not question.is_bot
    assert (answer.message_id, answer.text, answer.reply_to) == (answered.message_id, "I do. @room", asked)
    assert answer.is_bot
    assert abs(answer.at - datetime.now(UTC)) < timedelta(minutes=1)


async def test_what_was_taken_back_is_told_without_its_text(
    matrix: MatrixPlatform, ann: User, bot: User, room: str
) -> None:
    kept = ann.say(room, "good night")
    regretted = ann.say(room, "a secret")
    ann.edit(room, regretted, "a worse secret")
    ann.redact(room, regretted)
    own = (await matrix.send(Outgoing(room, "I know a secret", key="run/0"))).message_id
    bot.redact(room, own)
    found = await matrix.history(room, limit=1)
    assert [(each.message_id, each.user_id, each.text, each.taken_back) for each in found] == [
        (kept, ann.id, "good night", False),
        (regretted, ann.id, "", True),
        (own, bot.id, "", True),
    ]


async def test_the_last_messages_are_told_oldest_first(matrix: MatrixPlatform, ann: User, room: str) -> None:
    for number in range(5):
        ann.say(room, str(number))
    assert [each.text for each in await matrix.history(room, limit=3)] == ["2", "3", "4"]


async def test_rooms_that_can_be_read_are_listed_and_invitations_stay_invitations(
    matrix: MatrixPlatform, homeserver: Synapse, ann: User, bot: User, room: str
) -> None:
    bob = homeserver.register("bob")
    crowd = ann.create_room(bot, bob, name="Crowd")
    pair = ann.create_room(bot, is_direct=True)
    space = ann.create_room(bot, creation_content={"type": "m.space"})
    for joined in (crowd, pair, space):
        bot.join(joined)
    bob.join(crowd)
    invited = ann.create_room(bot, name="Later")
    algorithm = {"algorithm": "m.megolm.v1.aes-sha2"}
    encryption = {"type": "m.room.encryption", "state_key": "", "content": algorithm}
    encrypted = ann.create_room(bot, name="From the start", initial_state=[encryption])
    encrypted_later = ann.create_room(bot, name="Since now")
    for joined in (encrypted, encrypted_later):
        bot.join(joined)
    ann.say(encrypted_later, "now we speak among ourselves")
    ann.encrypt(encrypted_later)

    servers = await matrix.servers_and_channels()
    found = {each.id: (each.name, each.member_count, each.is_dm) for each in servers}
    assert found == {
        room: ("Garden", 2, True),
        crowd: ("Crowd", 3, False),
        pair: (ann.id, 2, True),
    }
    assert not {invited, encrypted, encrypted_later} & set(found)


async def test_what_is_not_allowed_is_refused(matrix: MatrixPlatform, ann: User) -> None:
    private = ann.create_room(name="Private")
    with pytest.raises(RefusedByPlatform, match="403"):
        await matrix.send(Outgoing(private, "Hello", key="k"))
    with pytest.raises(RefusedByPlatform, match="403"):
        await matrix.history(private, limit=10)


async def test_nothing_is_said_in_the_clear_where_people_encrypt(
    matrix: MatrixPlatform, ann: User, room: str
) -> None:
    ann.encrypt(room)
    with pytest.raises(RefusedByPlatform, match="encrypted end to end"):
        await matrix.send(Outgoing(room, "Hello", key="k"))
    assert await matrix.history(room, limit=10) == []


async def test_the_longest_text_arrives_cut(matrix: MatrixPlatform, room: str) -> None:
    await matrix.send(Outgoing(room, LONG, key="k"))
    [message] = await matrix.history(room, limit=10)
    assert message.text.endswith("…")
    assert len(message.text.encode()) > 29_000


async def test_the_limit_on_messages_names_a_time(matrix: MatrixPlatform, room: str) -> None:
    async def send_many() -> None:
        for number in range(2 * BURST):
            await matrix.send(Outgoing(room, "again", key=f"run/{number}"))

    with pytest.raises(RateLimited) as raised:
        await send_many()
    assert raised.value.retry_after
    assert timedelta(0) < raised.value.retry_after < timedelta(minutes=1)
