"""What a log line holds, and what it never does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SPEAKS = """
import logging, sys, warnings
import structlog
from nightshift.processes.log import configure_logging

configure_logging(sys.argv[1])
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
for password in ("canary", "canary:4711", "canary@4711", "canary%2F4711"):
    url = f"redis://ann:{password}@host:6379/0"
    ours.info("asked", url=url, tried=[url])
    theirs.info("asked %s", url)
    try:
        raise ValueError(f"cannot reach {url}")
    except ValueError:
        theirs.exception("failed")
        ours.exception("failed too")
warnings.warn("look out")
"""


def logged(style: str) -> list[str]:
    command = [sys.executable, "-c", SPEAKS, style]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()


def test_every_line_for_machines_is_one_json_object_whoever_logs_it() -> None:
    lines = [json.loads(line) for line in logged("json")]
    assert [line["logger"] for line in lines] == [*(["ours", "theirs", "theirs", "ours"] * 4), "py.warnings"]
    assert all({"timestamp", "level", "event"} <= line.keys() for line in lines)
    assert all("ValueError: cannot reach" in line["exception"] for line in (lines[2], lines[3]))


@pytest.mark.parametrize("style", ["json", "console"])
def test_passwords_in_urls_and_values_of_variables_are_never_shown(style: str) -> None:
    text = "\n".join(logged(style))
    assert text.count("redis://ann:**@host:6379/0") >= 4 * 5
    assert "canary" not in text
