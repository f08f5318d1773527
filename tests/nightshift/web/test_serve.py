"""The web as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPResponse
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.store.keys import Keys
from nightshift.web.serve import GRACE_S
from tests.nightshift.cli.test_up import await_words
from tests.nightshift.web.conftest import Settle

SECRET = "x" * 40


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_the_web_serves_until_it_is_stopped_and_then_says_goodbye(
    settle: Settle, store: Redis, redis_socket: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    settle(redis_socket)
    log = tmp_path / "web.log"
    assert await asyncio.to_thread(stop_while_somebody_listens, log, signum) == {"web"}
    assert await store.zcard(Keys().processes) == 0
    assert SECRET not in log.read_text()
    assert "Traceback" not in log.read_text()


def stop_while_somebody_listens(log: Path, signum: signal.Signals) -> set[str]:
    """Start the web, listen to it, and stop it; the kinds of process that it knew of."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = os.environ | {"NIGHTSHIFT_WEB_PORT": str(port), "NIGHTSHIFT_WEB_TOKEN": SECRET}
    command = [sys.executable, "-m", "nightshift.cli", "web"]
    with log.open("w") as output, subprocess.Popen(command, env=env, stderr=output) as process:
        try:
            await_words("web_serves", log)
            with ask(port, "/v1/events"), ask(port, "/v1/status") as status:
                kinds = {each["kind"] for each in json.load(status)["processes"]}
                for path in ("/v1/nonsense", "/v1"):
                    with pytest.raises(urllib.error.HTTPError) as refused:
                        ask(port, path)
                    with refused.value:  # the console, which lies below, does not answer for the API
                        assert (refused.value.code, json.load(refused.value)["status"]) == (404, 404)
                began = time.monotonic()
                process.send_signal(signum)
                assert process.wait(15) == 0
                assert time.monotonic() - began < GRACE_S + 1
        finally:
            process.kill()
    return kinds


def ask(port: int, path: str) -> HTTPResponse:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {SECRET}"}
    )
    response: HTTPResponse = urllib.request.urlopen(request, timeout=10)  # noqa: S310
    return response
