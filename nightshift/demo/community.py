"""
The demo's community: people who are not real, talking in two rooms, and the bot that they talk with.

It meets the deployment as any bot does, through the client; only the rooms are ours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import cycle

from nightshift.access.tokens import new_secret
from nightshift.agents.settings import DEFAULT_AGENT
from nightshift.client import Nightshift
from nightshift.deployment import Deployment, process_settings
from nightshift.machine.credentials import make_bots_token
from nightshift.platforms.local import BOT, LocalPlatform

PLATFORM = "local"
#: Between two things that are said.
PAUSE = timedelta(seconds=20)
ROOMS = {
    "garden": (
        ("Ada", "The beans are up. Two of them, at least."),
        ("Ben", "Mine drowned. How often do you water?"),
        ("Ada", "Every other evening, and never the leaves."),
        ("Cleo", "Who has the key to the shed this week?"),
        ("Ben", "Not me. I gave it back on Sunday."),
        ("Ada", "We said we would order the compost by Friday, did anybody?"),
    ),
    "reading": (
        ("Dai", "I am at chapter nine and I do not trust the captain."),
        ("Eve", "Nobody should. Wait for the lighthouse."),
        ("Dai", "No spoilers! When do we meet next?"),
        ("Eve", "Thursday at seven, if the library is open."),
        ("Cleo", "Is it? They close early in winter."),
    ),
}
#: What the simulated model answers to a look into a channel: every other time that there is nothing to say.
ANSWERS: Mapping[str, Sequence[bool | str | None]] = {
    "act": [False, True, True, False, True, False],
    "topic": ["", "a promise", "an open question", "", "what is next", ""],
    "say": [
        None,
        "[simulated] Shall I remind you of that tomorrow?",
        "[simulated] Was that question answered?",
        None,
        "[simulated] What comes next here?",
        None,
    ],
    "why": ["all is settled", "promised", "a question is open", "all is said", "plans are made", "quiet"],
}


def conversation() -> Iterator[tuple[str, str, str]]:
    """Who says what in which room, without end; the rooms take turns by chance."""
    lines = {room: cycle(said) for room, said in ROOMS.items()}
    while True:
        room = random.choice(list(lines))  # noqa: S311  nobody gains by guessing it
        yield room, *next(lines[room])


async def live() -> None:
    """Talk, and answer for the agent, until stopped."""
    settings = process_settings()
    token = make_bots_token(settings.home, DEFAULT_AGENT, new_secret).secret
    url = f"http://{settings.web_host}:{settings.web_port}"
    async with Deployment(settings) as here, Nightshift(url, token, platform=PLATFORM) as night:
        local = LocalPlatform(PLATFORM, here.state, here.keys)
        async with asyncio.TaskGroup() as group:
            night.connected(BOT)
            group.create_task(_answer(night))
            group.create_task(_talk(night, local))


async def _talk(night: Nightshift, local: LocalPlatform) -> None:
    for room in ROOMS:
        await night.channel(room, room, server_id="home", server_name="The demo", members=4)
    for room, user, text in conversation():
        said = await local.say(room, user, text)
        await night.observe(room, said.message_id, text, user_id=user, user_name=user, at=said.at)
        await asyncio.sleep(PAUSE.total_seconds())


async def _answer(night: Nightshift) -> None:
    async for work in night.work():
        await work.reply(work.instruction)
