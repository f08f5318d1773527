"""What the documents show of the client works as it is written."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from nightshift.channels.ref import ChannelRef
from nightshift.web.tokens import Tokens
from tests.examples.conftest import EXAMPLES, bots_token, hand, said
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve

CHECKOUT = EXAMPLES.parent
PAGES = [CHECKOUT / "README.md", CHECKOUT / "docs" / "adopt.md"]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_python(page: Path) -> None:
    assert blocks(page)
    for block in blocks(page):
        compile(block, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)


async def test_the_bot_of_the_page_sees_and_answers(serve: Serve, stage: Stage, tokens: Tokens) -> None:
    room = ChannelRef("discord", "general")
    async with serve() as here:
        run = await hand(stage, room)
        env = os.environ | {"NIGHT_URL": here.url, "NIGHT_TOKEN": await bots_token(tokens)}
        whole = blocks(CHECKOUT / "docs" / "adopt.md")[0]
        bot = await asyncio.create_subprocess_exec(sys.executable, "-c", whole, env=env, cwd=CHECKOUT)
        assert await asyncio.wait_for(bot.wait(), 20) == 0
        assert await said(here, run) == "Good night, all."
        (message,) = await here.web.observer.messages.last(room, 10)
        assert (message.text, message.user_name) == ("good night", "Ann")
