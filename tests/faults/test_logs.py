"""What processes log: whose every line is, and what never stands in one."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift.runs.states import State
from tests.faults.deployment import Deployment, until

SPEAK = "tests.faults.work.speak"


def lines(log: Path) -> list[dict[str, Any]]:
    """What was logged, without the banner that Celery prints."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


async def test_every_line_logged_while_a_run_is_carried_out_says_whose_it_is(deployment: Deployment) -> None:
    await deployment.start_worker("speaking", "io")
    runs = {}
    for name in ("news", "mail", "digest"):
        run = await deployment.ask(name, task=SPEAK, agent=f"{name}-agent", tenant=f"{name}-tenant")
        runs[run] = name
    for run in runs:
        await deployment.until_state(run, State.DONE)

    said: Counter[str] = Counter()
    for line in lines(deployment.home / "speaking.log"):
        for meant in re.findall(r"meant (\S+)", line["event"]):
            name = runs[meant]
            assert (line["run"], line["source"]) == (meant, name)
            assert (line["agent"], line["tenant"]) == (f"{name}-agent", f"{name}-tenant")
            said[meant] += 1
    assert said == dict.fromkeys(runs, 7)


@dataclass
class Refused(Deployment):
    """Processes whose servers all refuse the connection."""

    port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        server = f"redis://:canary%2F4711@127.0.0.1:{self.port}"
        urls = {"STATE": f"{server}/0", "BROKER": f"{server}/1", "GRAPH": f"{server}/2"}
        return super().environment | {f"NIGHTSHIFT_{name}_URL": url for name, url in urls.items()}


async def test_a_password_is_never_logged_while_servers_refuse(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        async with Refused(tmp_path, port=taken.getsockname()[1]) as refused:
            for name, trouble in (("worker", "Cannot connect"), ("beat", "beat_cannot_lead")):
                refused.start(name, [sys.executable, "-m", "workers.start", name])
                log = tmp_path / f"{name}.log"

                async def is_told(log: Path = log, trouble: str = trouble) -> bool:
                    return trouble in _text(log)

                await until(is_told, 20, f"{name} has met a server that refuses")
                assert "canary" not in _text(log)


def _text(log: Path) -> str:
    return log.read_text()
