"""The app as a Celery user expects it: its commands, its refusals, and what others may see."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nightshift.processes.signs_of_life import read_processes
from nightshift.runs.states import State
from tests.faults.deployment import CHECKOUT, Deployment, until


async def celery(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    return await python(deployment, "-m", "celery", "-A", "workers.app", *words)


async def python(deployment: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *words],
        cwd=CHECKOUT,
        env=os.environ | deployment.environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


async def test_celery_can_ping_and_inspect_workers(deployment: Deployment) -> None:
    said = await celery(deployment, "inspect", "ping")
    assert "control@test: OK" in said.stdout
    assert "pong" in said.stdout
    said = await celery(deployment, "inspect", "active_queues", "--json")
    assert '"control"' in said.stdout


async def test_a_message_for_a_queue_nobody_has_is_refused_where_it_is_sent(deployment: Deployment) -> None:
    send = "from workers.app import app; app.send_task('tasks.graph.count', ['x'], queue='nonsense')"
    said = await python(deployment, "-c", send)
    assert said.returncode != 0
    assert "nonsense" in said.stderr
    assert not await deployment.broker.exists("ns-broker:nonsense")


async def test_a_worker_for_a_queue_nobody_has_does_not_start(deployment: Deployment) -> None:
    said = await celery(deployment, "worker", "-Q", "nonsense", "-n", "never@test")
    assert said.returncode != 0
    assert "nonsense" in said.stdout + said.stderr


async def test_arguments_never_reach_an_event_or_the_log(deployment: Deployment) -> None:
    await deployment.start_worker("seen", "io", "-E")
    watch = (
        "from workers.app import app\n"
        "def show(event): print(event, flush=True)\n"
        "with app.connection_for_read() as connection:\n"
        "    receiver = app.events.Receiver(connection, handlers={'*': show})\n"
        "    receiver.capture(limit=None, timeout=20)\n"
    )
    deployment.start("watcher", [sys.executable, "-c", watch])
    seen = deployment.home / "watcher.log"

    async def watching() -> bool:
        return "worker-heartbeat" in seen.read_text()

    await until(watching, 15, "the events are watched")
    secret = await deployment.ask("canary-4711")
    await deployment.until_state(secret, State.DONE)
    await python(
        deployment,
        "-c",
        "from workers.app import app; import tasks.graph;"
        "app.tasks['tasks.graph.count'].apply_async(args=['canary-4712'], queue='io')",
    )

    async def two_received() -> bool:
        return seen.read_text().count("task-received") >= 2

    await until(two_received, 10, "both tasks are seen")
    events = [line for line in seen.read_text().splitlines() if "task-received" in line]
    assert all("'args': '(redacted)'" in event for event in events)
    assert "canary-4712" not in seen.read_text()
    assert "canary-4712" not in (deployment.home / "seen.log").read_text()


async def test_a_worker_knows_the_tasks_of_jobs_that_packages_bring(
    deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "gardening.py").write_text(
        "from datetime import timedelta\n"
        "from nightshift.jobs.row import Job, always\n"
        "from nightshift.time.cadence import every\n"
        "from nightshift.time.misfire import Misfire\n"
        "from tasks.run import carried_out_as_run\n"
        "@carried_out_as_run\n"
        "async def water(run): ...\n"
        "JOB = Job('water', water, every(hours=1), timedelta(0), 'io', (), always, Misfire.SKIP)\n"
    )
    package = tmp_path / "gardening-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: gardening\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[nightshift.jobs]\ngardening = gardening:JOB\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); from workers.app import app; print(*app.tasks)"
    assert "gardening.water" in (await python(deployment, "-c", code)).stdout.split()


async def test_the_same_task_runs_in_celerys_own_pool_of_threads(deployment: Deployment) -> None:
    await deployment.start_worker("threads", "io", "-P", "threads", "-c", "2")
    run = await deployment.ask("threads")
    assert (await deployment.until_state(run, State.DONE)).worker == "threads@test"


async def test_a_worker_says_that_it_is_there_and_says_goodbye(deployment: Deployment) -> None:
    await deployment.start_worker("there", "io,graph")

    async def row() -> Any:
        found = await read_processes(deployment.client, deployment.ledger.keys)
        return {process.name: process for process in found}.get("there@test")

    there = await row()
    assert there.alive
    assert there.facts["queues"] == ["graph", "io"]
    deployment.processes["there"].terminate()
    await asyncio.to_thread(deployment.processes["there"].wait)
    assert await row() is None
