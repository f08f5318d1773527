"""The bot of examples/matrix at work, between a homeserver and nightshift."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from nightshift.memory.message import Message
from tests.examples.conftest import Load, bots_token
from tests.nightshift.web.conftest import Serve
from tests.nightshift.web.serving import Served


@dataclass(frozen=True)
class Awake:
    """Somebody who starts the bot's program."""

    serve: Serve
    tokens: Tokens
    load: Load

    @asynccontextmanager
    async def __call__(self, url: str, token: str, **env: str) -> AsyncIterator[Served]:
        """What the bot tells, for as long as it is awake."""
        async with self.serve() as here:
            env |= {"MATRIX_URL": url, "MATRIX_TOKEN": token}
            env |= {"NIGHT_URL": here.url, "NIGHT_TOKEN": await bots_token(self.tokens)}
            example: Any = self.load("matrix/bot.py", **env)
            example.FIRST_PAUSE = 0.02
            living = asyncio.create_task(example.main())
            try:
                yield here
                assert not living.done()
            finally:
                working = [task for task in asyncio.all_tasks() if "Echo.work" in repr(task)]
                for task in (living, *working):
                    task.cancel()
                await asyncio.wait({living, *working})


async def remembered(here: Served, room: ChannelRef, *texts: str) -> list[Message]:
    """What is remembered of the room, once it reads so."""
    messages = here.web.here.memory.messages
    async with asyncio.timeout(20):
        while tuple(each.text for each in await messages.last(room, 100)) != texts:
            await asyncio.sleep(0.02)
    return await messages.last(room, 100)
