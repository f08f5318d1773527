"""What a connection costs: ``python -m bench.backfill [--rounds 3] [--channels 10] [--messages 100]``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import psutil
from redis.asyncio import Redis

from bench.rounds import Figures, options, report
from bench.scene import Scene, scene, start_pulse, until_worker_answers
from nightshift.machine.embedded import EmbeddedServer, binaries
from nightshift.memory.message_graph import MessageGraph
from nightshift.platforms.local import LocalPlatform
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import State
from nightshift.store.graph import Graph
from nightshift.store.keys import Keys

LOOK = "job:startup_channel_backfill"
TALK = "the harbour opens at dawn and the museum closes when the last visitor has left for the night"
WITHIN = 120


async def measure(channels: int, messages: int) -> Figures:
    """Rooms of our own with a past, a worker that finds them, and then once more when all is known."""
    _, module = binaries(EmbeddedServer(home=Path(), password=""))
    async with scene("--loadmodule", str(module), "THREAD_COUNT", "2") as here, here.client() as redis:
        os.environ["NIGHTSHIFT_GRAPH_URL"] = f"unix://{here.socket}?db=0"
        await fill(redis, channels, messages)
        async with here.celery("worker", "-n", "bench@%h") as worker:
            await until_worker_answers(here)
            await start_pulse(here)
            process = psutil.Process(worker.pid)
            cpu = sum(process.cpu_times()[:2])
            first = await connect(here, redis, channels)
            graph = MessageGraph(Graph(redis, Keys().message_graph("default")))
            embedded = await until(lambda: holds(graph, channels * messages))
            cpu = sum(process.cpu_times()[:2]) - cpu
            await redis.delete(Keys().connection("local"))
            again = await connect(here, redis, channels)
    return {
        "read_s": first,
        "then_embedded_s": embedded,
        "read_again_s": again,
        "cpu_ms_per_message": 1000 * cpu / (channels * messages),
    }


async def fill(redis: Redis, channels: int, messages: int) -> None:
    platform = LocalPlatform("local", redis, Keys())
    for channel in range(channels):
        for number in range(messages):
            await platform.say(f"room {channel}", f"user {number % 7}", f"{number}: {TALK[number % 50 :]}")


async def connect(here: Scene, redis: Redis, channels: int) -> float:
    """From the look that finds the platform until every channel has been read."""
    ledger = here.ledger()
    now = datetime.now(UTC)
    before = len(await read(ledger))
    await ledger.record(RunRequest(run_id(LOOK, now), LOOK, now, "tasks.backfill.look", "io"))

    async def all_read() -> bool:
        return len(await read(ledger)) >= before + channels

    return await until(all_read)


async def read(ledger: Ledger) -> list[str]:
    """The runs that have read a channel."""
    done = await ledger.ended_runs(State.DONE, limit=1000)
    return [row.id for row in done if row.source.startswith("backfill:")]


async def holds(graph: MessageGraph, number: int) -> bool:
    return await graph.model() is not None and await graph.count() >= number


async def until(true: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until this is true."""
    start = time.perf_counter()
    async with asyncio.timeout(WITHIN):
        while not await true():
            await asyncio.sleep(0.02)
    return time.perf_counter() - start


def main() -> None:
    parser = options("bench.backfill")
    parser.add_argument("--channels", type=int, default=10)
    parser.add_argument("--messages", type=int, default=100)
    given = parser.parse_args()
    report(given, {"backfill": lambda: measure(given.channels, given.messages)})


if __name__ == "__main__":
    main()
