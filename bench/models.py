"""
What a model call costs in CPU: ``python -m bench.models [--rounds 3] [--json]``.

Five hundred calls at once to an endpoint that takes a second, each way of calling it in a process of its own:
plain aiohttp, OpenAI's SDK as it comes and over other HTTP clients, the SDK over our own transport, and
``Models.ask`` with purse, breaker, key pool and freeze on a real Redis. Only the ratios within a round count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import uvloop

from bench.pool.calls import peak_mb
from bench.scene import Scene, scene

if TYPE_CHECKING:
    import httpx2

AT_ONCE = 500
CALLS = 2_000
SECONDS = 1.0
#: What a call may cost of what it costs with plain aiohttp.
LIMIT = 12.0

Call = Callable[[], Awaitable[object]]
Report = dict[str, float]

SYSTEM, USER = "s" * 300, "u" * 700
TURNS: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x" * 800}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 200, "total_tokens": 300, "cost": 0.0001},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


# The endpoint


class Endpoint(asyncio.Protocol):
    """One connection; every request on it is answered after a second."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, there, body = self._received.partition(b"\r\n\r\n")
        if not there:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) >= length:
            self._received = b""
            asyncio.get_running_loop().call_later(SECONDS, self._transport.write, HEAD + ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The ways to call it


@asynccontextmanager
async def plain(url: str) -> AsyncIterator[Call]:
    headers = {"Authorization": "Bearer x"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def call() -> None:
            body = {"model": "m", "messages": TURNS, "max_tokens": 1024}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                await response.json()

        yield call


def unlimited() -> httpx2.AsyncClient:
    import httpx2

    none = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncClient(limits=none, timeout=None)


def over_aiohttp() -> httpx2.AsyncClient:
    import httpx2

    from nightshift.llm.transport import AiohttpTransport

    return httpx2.AsyncClient(transport=AiohttpTransport(), trust_env=False, timeout=None)


@asynccontextmanager
async def sdk(
    url: str, *, http: Callable[[], httpx2.AsyncClient] | None = None, of: int = AT_ONCE
) -> AsyncIterator[Call]:
    """OpenAI's SDK; ``of`` callers share an HTTP client."""
    import openai

    def client() -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=url, api_key="x", max_retries=0, timeout=None, http_client=http() if http else None
        )

    clients = [client() for _ in range(AT_ONCE // of)]
    turn = 0

    async def call() -> None:
        nonlocal turn
        turn += 1
        create = clients[turn % len(clients)].chat.completions.create
        await create(model="m", messages=TURNS, max_tokens=1024)

    yield call
    for each in clients:
        await each.close()


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Call]:
    """The whole way."""
    from nightshift.deployment import Deployment
    from nightshift.llm.prompts import PromptMessage
    from nightshift.money.payer import Payer
    from nightshift.settings import load_settings

    settings = load_settings(
        state_url=f"unix://{os.environ['BENCH_REDIS']}?db=0",
        model={"url": url, "name": "flash-simulated", "key": "x"},
        budget={"day": "none"},
    )
    async with Deployment(settings) as here:
        await here.state.flushdb()
        models, payer = here.llm.models, Payer("bench@1", "bench", channel="local:room", agent="a")
        messages = (PromptMessage("system", SYSTEM), PromptMessage("user", USER))

        async def call() -> None:
            await models.ask("flash", messages, payer)

        yield call


WAYS: dict[str, Callable[[str], AbstractAsyncContextManager[Call]]] = {
    "aiohttp": plain,
    "SDK": sdk,
    "SDK, no limits": lambda url: sdk(url, http=unlimited),
    "SDK, 50 clients": lambda url: sdk(url, http=unlimited, of=10),
    "SDK, transport": lambda url: sdk(url, http=over_aiohttp),
    "ask": ask,
}


async def measure(way: str, url: str) -> Report:
    async with WAYS[way](url) as call:
        await call()
        began, cpu = time.monotonic(), time.process_time()
        left = iter(range(CALLS))

        async def make_one_after_another() -> None:
            for _ in left:
                await call()

        await asyncio.gather(*(make_one_after_another() for _ in range(AT_ONCE)))
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    return {"per_second": CALLS / seconds, "cpu_ms": cpu / CALLS * 1000, "peak_mb": peak_mb()}


# Who measures


def run(way: str, url: str, where: Scene) -> Report:
    command = [sys.executable, "-m", "bench.models", "--way", way, "--url", url]
    told = subprocess.run(
        command,
        env={**os.environ, "BENCH_REDIS": str(where.socket)},
        check=True,
        capture_output=True,
        text=True,
    )
    made: Report = json.loads(told.stdout.splitlines()[-1])
    return made


async def compare(rounds: int) -> list[dict[str, Report]]:
    command = [sys.executable, "-m", "bench.models", "--serve"]
    async with scene() as where:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            try:
                url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
                return [
                    {way: await asyncio.to_thread(run, way, url, where) for way in WAYS}
                    for _ in range(rounds)
                ]
            finally:
                server.kill()


def table(rounds: list[dict[str, Report]]) -> str:
    lines = [f"{'way':16} {'calls/s':>8} {'CPU ms':>7} {'of aiohttp':>11} {'peak MB':>8}"]
    for way in WAYS:
        ratios = [each[way]["cpu_ms"] / each["aiohttp"]["cpu_ms"] for each in rounds]
        lines.append(
            f"{way:16} {median(each[way]['per_second'] for each in rounds):8.0f} "
            f"{median(each[way]['cpu_ms'] for each in rounds):7.2f} {median(ratios):11.1f} "
            f"{max(each[way]['peak_mb'] for each in rounds):8.0f}  ({min(ratios):.1f} to {max(ratios):.1f})"
        )
    return "\n".join([*lines, f"wanted: ask at most {LIMIT:.0f} times aiohttp"])


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.models", description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.serve:
        uvloop.run(serve())
    elif told.way:
        print(json.dumps(uvloop.run(measure(told.way, told.url))))
    else:
        rounds = asyncio.run(compare(told.rounds))
        print(json.dumps(rounds, indent=2) if told.json else table(rounds))


if __name__ == "__main__":
    main()
