"""The bot of examples/matrix and a real Synapse."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from urllib.error import HTTPError

import pytest

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from tests.examples.conftest import Load, load  # noqa: F401
from tests.examples.matrix_bot import Awake, remembered
from tests.matrix.synapse import BURST, Synapse, User
from tests.nightshift.web.conftest import Serve, serve, settle, store, tokens  # noqa: F401

pytestmark = pytest.mark.homeserver


def say_until_refused(user: User, room: str) -> None:
    for _ in range(2 * BURST):
        user.say(room, "again and again")


@pytest.fixture
def awake(serve: Serve, tokens: Tokens, load: Load) -> Awake:  # noqa: F811
    return Awake(serve, tokens, load)


async def test_the_bot_of_the_example_sees_what_people_do(
    awake: Awake, homeserver: Synapse, ann: User, bot: User, room: str
) -> None:
    eve, robot = homeserver.register("eve"), homeserver.register("robot")
    garden, hall = ChannelRef("matrix", room), ChannelRef("matrix", ann.create_room(bot, eve, robot))
    for user in (bot, eve, robot):
        user.join(hall.id)
    ann.ask("PUT", f"profile/{ann.id}/displayname", {"displayname": "Ann of the garden"})
    async with awake(homeserver.url, bot.token) as here:
        messages = here.web.here.memory.messages
        async with asyncio.timeout(20):
            while not await messages.count(garden):  # what was said before it came is not answered
                await to_thread(ann.say, room, "are you there?")
                await asyncio.sleep(0.2)

        asked = await to_thread(ann.say, hall.id, "rozes")
        mine, echo = await remembered(here, hall, "rozes", "rozes")
        assert (mine.user_id, mine.user_name, mine.origin) == (ann.id, "Ann of the garden", "human")
        assert (echo.user_id, echo.origin) == (bot.id, "agent")

        regretted = await to_thread(robot.say, hall.id, "beep", msgtype="m.notice")
        await to_thread(ann.edit, hall.id, asked, "roses")
        await to_thread(eve.edit, hall.id, asked, "I owe Eve money")
        await remembered(here, hall, "roses", "rozes", "beep")
        await to_thread(robot.redact, hall.id, regretted)
        await remembered(here, hall, "roses", "rozes")

        # From here on it is told to wait, and answers all the same.
        with pytest.raises(HTTPError, match="429"):
            await to_thread(say_until_refused, bot, room)
        await to_thread(eve.say, hall.id, "and me?")
        await remembered(here, hall, "roses", "rozes", "and me?", "and me?")
