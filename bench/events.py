"""What fifty listeners cost: ``python -m bench.events [--rounds 3] [--seconds 30] [--json]``."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil

from bench.rounds import Figures, options, report
from bench.scene import CHECKOUT, Scene, quantile, scene
from nightshift.store.keys import Keys

RATE, LISTENERS, BATCH = 1_000, 50, 20
SECRET = "of-this-benchmark-and-of-nothing-else"  # noqa: S105  lets nobody in anywhere else


@dataclass
class Heard:
    """What one listener got."""

    numbers: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)

    async def listen(self, client: httpx2.AsyncClient, last: int) -> None:
        async with client.stream("GET", "/v1/events") as response:
            assert response.status_code == 200
            kind = ""
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif kind == "events" and line.startswith("data: "):
                    self._take(json.loads(line.removeprefix("data: ")))
                    if self.numbers and self.numbers[-1] == last:
                        return

    def _take(self, events: list[dict[str, str]]) -> None:
        now = time.time()
        self.frames.append(now)
        for event in events:
            if event["type"] == "counted":
                self.numbers.append(int(event["source"]))
                self.latencies.append((now - float(event["sent"])) * 1000)

    @property
    def frames_a_second(self) -> float:
        return (len(self.frames) - 1) / (self.frames[-1] - self.frames[0])


async def listen_to_many(seconds: int) -> Figures:
    """A real web process, its listeners in this one."""
    async with scene() as here, web(here) as (process, url), AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=url,
                headers={"Authorization": f"Bearer {SECRET}"},
                timeout=30,
                limits=httpx2.Limits(max_connections=None),
            )
        )
        last = RATE * seconds - 1
        heard = [Heard() for _ in range(LISTENERS)]
        async with asyncio.TaskGroup() as group:
            for each in heard:
                group.create_task(each.listen(client, last))
            await asyncio.sleep(2)  # everybody listens
            before, began = sum(process.cpu_times()[:2]), time.perf_counter()
            await _publish(here, seconds)
        took = time.perf_counter() - began
        cpu = sum(process.cpu_times()[:2]) - before
        memory = process.memory_info().rss / 2**20
    latencies = [latency for each in heard for latency in each.latencies]
    assert all(each.numbers == list(range(last + 1)) for each in heard), "lost, doubled or out of order"
    return {
        "events_per_s": (last + 1) / took,
        "p50_ms": quantile(latencies, 0.5),
        "p95_ms": quantile(latencies, 0.95),
        "frames_a_second": max(each.frames_a_second for each in heard),
        "web_cpu_percent": 100 * cpu / took,
        "web_rss_mb": memory,
    }


async def _publish(here: Scene, seconds: int) -> None:
    keys, began = Keys(), time.perf_counter()
    async with here.client() as client:
        for first in range(0, RATE * seconds, BATCH):
            pipeline = client.pipeline(transaction=False)
            for number in range(first, first + BATCH):
                event: dict[Any, Any] = {"type": "counted", "source": str(number), "sent": time.time()}
                await pipeline.xadd(keys.events, event | {"tenant": "default", "run": f"bench@{number}"})
            await pipeline.execute()
            await asyncio.sleep(max(0, (first + BATCH) / RATE - (time.perf_counter() - began)))


@asynccontextmanager
async def web(here: Scene) -> AsyncIterator[tuple[psutil.Process, str]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = here.environment | {"NIGHTSHIFT_WEB_PORT": str(port), "NIGHTSHIFT_WEB_TOKEN": SECRET}
    command = [sys.executable, "-m", "nightshift.cli", "web"]
    with subprocess.Popen(command, cwd=CHECKOUT, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            async with asyncio.timeout(30), httpx2.AsyncClient() as client:
                while True:
                    try:
                        await client.get(f"http://127.0.0.1:{port}/readyz")
                        break
                    except httpx2.TransportError:
                        await asyncio.sleep(0.1)
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def main() -> None:
    parser = options("bench.events")
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    report(given, {"events": lambda: listen_to_many(given.seconds)})


if __name__ == "__main__":
    main()
