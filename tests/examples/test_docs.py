"""What the documents show of the client works as it is written."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from tests.examples.conftest import EXAMPLES, bots_token, delivered, hand
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


async def test_the_bot_of_the_page_sees_answers_and_speaks(
    serve: Serve, stage: Stage, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_AGENTS__DEFAULT__DELIVERS", "bot")
    room = ChannelRef("chat", "general")
    async with serve() as here:
        run = await hand(stage, room)
        env = os.environ | {"NIGHT_URL": here.url, "NIGHT_TOKEN": await bots_token(tokens)}
        whole = blocks(CHECKOUT / "docs" / "adopt.md")[0]
        bot = await asyncio.create_subprocess_exec(
            sys.executable, "-c", whole, env=env, cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE
        )
        assert bot.stdout
        async with asyncio.timeout(20):
            assert await bot.stdout.readline() == b"general Good night, all.\n"
            while (delivery := await delivered(here, run)).state != "sent":
                await asyncio.sleep(0.01)
            messages = here.web.here.memory.messages
            while not (seen := await messages.find(room, ["m1"])):
                await asyncio.sleep(0.01)
        bot.kill()
        await bot.wait()
        assert delivery.message_id == "m2"
        assert (seen["m1"].text, seen["m1"].user_name) == ("good night", "Ann")
