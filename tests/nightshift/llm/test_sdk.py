"""Loading OpenAI's SDK, which takes longer than a lease if the machine is slow enough."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from nightshift.demo.model import SimulatedModel
from nightshift.store.keys import Keys

ASKS = """
import asyncio, sys, threading
from redis.asyncio import Redis
from nightshift.store.keys import Keys
from tests.nightshift.llm.asking import HELLO, PAYER, Verdict, asking, model_at

class Watch:
    def find_spec(self, name, *_):
        if name == "openai":
            print("on the loop" if threading.current_thread() is threading.main_thread() else "beside it")

async def text(models):
    await models.ask("flash", HELLO, PAYER)

async def value(models):
    await models.ask("flash", HELLO, PAYER, schema=Verdict)

async def stream(models):
    async for _ in models.stream("chat", HELLO, PAYER):
        pass

async def main(socket, prefix, url, way):
    sys.meta_path.insert(0, Watch())
    async with Redis(unix_socket_path=socket, decode_responses=True) as redis:
        async with asking(redis, Keys(prefix=prefix), model=model_at(url)) as here:
            await asyncio.gather(globals()[way](here.models), globals()[way](here.models))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("way", ["text", "value", "stream"])
async def test_the_first_call_of_a_process_does_not_hold_its_loop_up(
    redis_socket: Path, keys: Keys, model: SimulatedModel, way: str
) -> None:
    asks = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASKS, str(redis_socket), keys.prefix, model.url, way,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await asks.communicate()
    assert asks.returncode == 0
    assert b"beside it" in told
    assert b"on the loop" not in told
