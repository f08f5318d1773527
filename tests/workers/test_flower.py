"""Flower as people meet it: the real process beside a real worker, with a Redis that asks for a password."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from flower.urls import handlers
from redis.asyncio import Redis

from nightshift.machine.credentials import make_flower_credentials
from nightshift.runs.states import State
from nightshift.settings import load_settings
from tests.faults.deployment import CHECKOUT, MARK, Deployment, until
from workers.app import celery_settings
from workers.flower import Flower

STORE_PASSWORD = "canary-of-the-store"
WORKER = "seen@test"


def _address(route: Any) -> str:
    """An address that this row of Flower's table answers."""
    pattern = getattr(route, "regex", None)
    text = pattern.pattern if pattern else route[0]
    filled = re.sub(r"\(\.[+*]\)", "x", text.rstrip("$")).replace("/?", "")
    return "/nowhere" if filled == ".*" else str(filled)


ADDRESSES = sorted({_address(route) for route in handlers})
OPEN = "/healthcheck"
PAGES = ("/", "/?json=1", "/workers?refresh=1", f"/worker/{WORKER}", "/tasks", "/broker", "/metrics")
ANSWERS = ("/api/workers?refresh=1", "/api/tasks", "/api/task/types", "/api/queues/length")


@dataclass
class Watched(Deployment):
    """A deployment with a password on its Redis, whose worker sends its events to a Flower."""

    password: str = STORE_PASSWORD
    #: Flower's user and password, and where it listens.
    credentials: str = ""
    port: int = 0
    task: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {
            "NIGHTSHIFT_STATE_URL": f"unix://:{self.password}@{self.socket}?db=0",
            "NIGHTSHIFT_BROKER_URL": f"redis+socket://:{self.password}@{self.socket}?virtual_host=1",
            "NIGHTSHIFT_TASK_EVENTS": "true",
            "NIGHTSHIFT_FLOWER_PORT": "0",
        }

    async def start_everything(self) -> None:
        await self.start_redis()
        async with Redis(unix_socket_path=str(self.socket)) as client:
            await client.config_set("requirepass", self.password)
        self.credentials = make_flower_credentials(self.home).secret
        async with asyncio.TaskGroup() as starting:
            starting.create_task(self.start_worker(WORKER.removesuffix("@test"), "control,io"))
            starting.create_task(self.start_beat())
            starting.create_task(self._start_flower())

    async def _start_flower(self) -> None:
        self.start("flower", [sys.executable, "-m", "workers.start", "flower"])
        log = self.home / "flower.log"

        async def listens() -> bool:
            assert self.processes["flower"].poll() is None, log.read_text()
            found = re.search(r"Visit me at http://127.0.0.1:(\d+)", log.read_text())
            self.port = int(found[1]) if found else 0
            return bool(found) and "Connected to" in log.read_text()  # it hears events from here on

        await until(listens, 30, "Flower listens")

    async def carry_out_one_run(self) -> None:
        """Have a run done whose task Flower hears of."""
        run = await self.ask("canary-of-a-run")
        await self.until_state(run, State.DONE)

        async def heard() -> bool:
            status, body = await asyncio.to_thread(self.get, f"/api/tasks?taskname={MARK}")
            assert status == 200, body
            found = [each for each in json.loads(body).values() if each["state"] == "SUCCESS"]
            self.task = found[0] if found else {}
            return bool(found)

        await until(heard, 30, "Flower hears of the run's task")

    def get(self, path: str) -> tuple[int, str]:
        return self.request("GET", path, _basic(self.credentials))

    def request(self, method: str, path: str, authorization: str = "", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = headers | ({"Authorization": authorization} if authorization else {})
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def _basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


@pytest.fixture(scope="module")
def flower() -> Iterator[Watched]:
    """One Flower for all tests of this file, which only look."""

    async def start(watched: Watched) -> None:
        async with watched:
            await watched.start_everything()
            await watched.carry_out_one_run()
            # They outlive this loop, and are ended below.
            running.update(watched.processes)
            watched.processes.clear()

    running: dict[str, subprocess.Popen[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        watched = Watched(Path(folder))
        asyncio.run(start(watched))
        watched.processes.update(running)
        yield watched
        watched.end()


# Closed


@pytest.mark.parametrize("path", [path for path in ADDRESSES if path != OPEN])
def test_every_address_is_closed_without_credentials_and_with_wrong_ones(flower: Watched, path: str) -> None:
    user, _, password = flower.credentials.partition(":")
    wrong = ("", "Basic", "Basic !", _basic(f"{user}:wrong"), _basic(f":{password}"), f"Bearer {password}")
    for authorization in wrong:
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
            status, body = flower.request(method, path, authorization)
            assert (status, body) in ((401, "Access denied"), (401, "")), (method, path, authorization)


def test_a_probe_without_credentials_learns_that_it_is_there_and_nothing_else(flower: Watched) -> None:
    assert flower.request("GET", OPEN) == (200, "OK")


def test_a_page_of_another_site_cannot_send_anything_in_a_persons_name(flower: Watched) -> None:
    for path in ("/tasks/datatable", f"/api/worker/shutdown/{WORKER}"):
        found = flower.request("POST", path, _basic(flower.credentials), **{"Sec-Fetch-Site": "cross-site"})
        assert found[0] == 403
        assert "Cross-site" in found[1]


# Open, to look


@pytest.mark.parametrize("path", PAGES + ANSWERS)
def test_the_right_credentials_open_it_and_no_password_shows(flower: Watched, path: str) -> None:
    status, body = flower.get(path)
    assert status == 200, body
    assert len(body) > 100 or path in ANSWERS
    for secret in (STORE_PASSWORD, flower.credentials.partition(":")[2]):
        assert secret not in body


def test_a_worker_shows_its_servers_without_their_passwords(flower: Watched) -> None:
    worker: dict[str, Any] = {}
    give_up = time.monotonic() + 20
    while not {"stats", "conf"} <= worker.keys() and time.monotonic() < give_up:
        # Flower gives workers a second to answer.
        worker = json.loads(flower.get("/api/workers?refresh=1")[1]).get(WORKER, {})
    assert worker["stats"]["broker"]["hostname"].startswith("redis+socket://:**@/")
    assert worker["conf"]["redbeat_redis_url"] == "*" * 8, "which others could ask the worker for, too"


def test_a_runs_task_shows_and_what_it_was_given_does_not(flower: Watched) -> None:
    task, run = flower.task, flower.asked[0]
    assert (task["name"], task["worker"]) == (MARK, WORKER)
    assert (task["args"], task["kwargs"]) == ("(redacted)", "(redacted)")
    assert run in task["uuid"], "which is how people find it"
    assert not [field for field, value in task.items() if run in str(value) and value != task["uuid"]]
    page = flower.get(f"/task/{quote(task['uuid'])}")[1]
    assert MARK in page
    assert "(redacted)" in page


def test_metrics_count_the_runs_task(flower: Watched) -> None:
    assert f'task="{MARK}",type="task-succeeded",worker="{WORKER}"' in flower.get("/metrics")[1]


@pytest.mark.parametrize("wanted", [True, False])
def test_workers_send_events_only_if_told_to(wanted: bool) -> None:
    told = load_settings(**({"task_events": True} if wanted else {}))
    found = celery_settings(told)
    assert (found["worker_send_task_events"], found["task_send_sent_event"]) == (wanted, wanted)


# Not to change anything


def test_nothing_can_be_changed_whoever_asks(flower: Watched) -> None:
    changing = [
        path.replace("/x", f"/{WORKER}")
        for path in ADDRESSES
        if path.startswith(("/api/worker/", "/api/task/"))
    ]
    found = {path: flower.request("POST", path, _basic(flower.credentials)) for path in changing}
    refused = {
        path for path, (status, body) in found.items() if (status, body) == (403, "Read only mode is enabled")
    }
    only_read = {path for path, (status, _) in found.items() if status == 405}
    assert f"/api/worker/shutdown/{WORKER}" in refused
    assert refused | only_read == set(changing)
    assert all(flower.get(path)[0] in (200, 404, 503) for path in only_read), (
        "these answer, and change nothing"
    )
    assert flower.processes[WORKER.removesuffix("@test")].poll() is None


# Where passwords could be seen


def test_no_password_is_on_a_command_line_or_in_a_log(flower: Watched) -> None:
    password = flower.credentials.partition(":")[2]
    for process in flower.processes.values():
        words = " ".join(psutil.Process(process.pid).cmdline())
        assert words
        assert password not in words
        assert STORE_PASSWORD not in words
    for log in flower.home.glob("*.log"):
        assert password not in log.read_text()
        assert STORE_PASSWORD not in log.read_text()


@pytest.mark.parametrize("command", ["nightshift.cli", "celery -A workers.app"])
def test_without_credentials_it_does_not_start_and_says_what_to_do(tmp_path: Path, command: str) -> None:
    refused = subprocess.run(
        [sys.executable, "-m", *command.split(), "flower"],
        cwd=CHECKOUT,
        env=os.environ | {"NIGHTSHIFT_HOME": str(tmp_path), "NIGHTSHIFT_FLOWER_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "Error: Flower has no credentials and does not start without; set NIGHTSHIFT"
    )
    assert refused.stderr.count("\n") == 1


def test_a_password_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        Flower(options=SimpleNamespace(basic_auth=["ann:hunter2"]))
    assert refused.value.code == 2
    told = capsys.readouterr().err
    assert "set that, not --basic_auth" in told
    assert "hunter2" not in told
