"""The bot in TypeScript: its types generated from the API that is served, compiled, and run by Node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from tests.examples.conftest import EXAMPLES, bots_token, hand, platform, said
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve

TOOLS = EXAMPLES / "typescript" / "node_modules"
HOW = "cd examples/typescript && npm ci"


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    """A copy of the example, so that what is made of it goes with the test."""
    missing = not (shutil.which("node") and (TOOLS / ".bin" / "tsc").exists())
    if missing and os.environ.get("CI") and shutil.which("npm"):
        pytest.fail(f"CI runs this test: `{HOW}`, as scripts/install-test-tools does")
    if missing:
        pytest.skip(f"Node or the example's packages are missing: `{HOW}`")
    for name in ("bot.ts", "night.ts", "package.json", "tsconfig.json"):
        shutil.copy(EXAMPLES / "typescript" / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(TOOLS)
    return tmp_path


async def run(bot: Path, *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words, cwd=bot, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def start(bot: Path, url: str, token: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    env = os.environ | {"NIGHT_URL": url, "NIGHT_TOKEN": token}
    return await asyncio.create_subprocess_exec(
        "node", "build/bot.js", cwd=bot, env=env, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    async for line in stream:
        yield line.decode().strip()


async def test_the_echo_bot_is_always_on(serve: Serve, stage: Stage, tokens: Tokens, bot: Path) -> None:
    room = ChannelRef("local", "terminal")
    async with serve() as here:
        (bot / "openapi.json").write_text(json.dumps(here.app.openapi()))
        tools = TOOLS / ".bin"
        await run(bot, str(tools / "openapi-typescript"), "openapi.json", "--output", "schema.d.ts")
        await run(bot, str(tools / "tsc"))
        process = await start(bot, here.url, await bots_token(tokens))
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"hello\n")
        assert await asyncio.wait_for(anext(lines(process.stdout)), 10) == "hello"
        (message,) = await here.web.here.memory.messages.last(room, 10)
        assert (message.text, message.user_id, message.origin) == ("hello", "you", "human")

        run_id = await hand(stage, room)
        async with asyncio.timeout(10):
            while not (await here.web.here.runs.ledger.get(run_id)).state.ended:
                await asyncio.sleep(0.02)
        assert await said(here, run_id) == "Good night, all."
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_who_is_not_let_in_does_not_ask_again_at_once(bot: Path) -> None:
    asked: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=401, text="the token is not known")

    await run(bot, str(TOOLS / ".bin" / "tsc"), "--noCheck")
    async with platform([web.get("/v1/work", refuse), web.post("/v1/alive", refuse)]) as address:
        process = await start(bot, f"http://{address}", "nst_of-nobody")
        assert process.stdin
        assert process.stderr
        said = await asyncio.wait_for(anext(lines(process.stderr)), 10)
        assert said == "no work is given: Error: the token is not known"
        await asyncio.sleep(0.2)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert asked.count("/v1/work") == 1
