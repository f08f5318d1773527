"""The examples of docs/how-to/http-api.md, carried out."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

from nightshift.access.tokens import Role, Tokens
from nightshift.runs.states import failed
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "http-api.md").read_text()
EXAMPLES = re.findall(r"^\$ (curl .*)$", PAGE, re.M)


async def shell(command: str, **names: str) -> str:
    """What the command prints; a stream is left after a second."""
    timeout = "timeout 1 " if "-N" in command else ""
    process = await asyncio.create_subprocess_shell(
        timeout + command.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1),
        env=os.environ | names,
        stdout=asyncio.subprocess.PIPE,
    )
    answer, _ = await process.communicate()
    return answer.decode()


async def test_every_example_works_as_it_is_written(serve: Serve, stage: Stage, tokens: Tokens) -> None:
    await stage.job(name="graph_census")
    await stage.run("news", outcome=failed("no model"))
    run = await stage.run("open")
    await stage.run("job:graph_census")
    async with serve() as here, here.client() as client:
        listed = (await client.get("/v1/runs?limit=1")).json()
        census = next(
            each["id"]
            for each in (await client.get("/v1/runs")).json()["runs"]
            if each["source"] == "job:graph_census"
        )
        names = {
            "TOKEN": await tokens.create("viewer"),
            "OPERATOR": await tokens.create("operator", Role.OPERATOR),
            "NEXT": listed["next"],
            "RUN": run,
        }
        assert EXAMPLES
        for example in EXAMPLES:
            command = example.replace("http://127.0.0.1:8390", here.url)
            command = command.replace("job:graph_census@2026-11-20T12:47:17Z", census)
            body, _, status = (await shell(command, **names)).rpartition("\n")
            if "-N" not in example:
                assert status in ("200", "202"), (example, body)
                assert json.loads(body)


async def test_a_problem_is_as_shown(serve: Serve) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    async with serve() as here, here.client() as client:
        assert (await client.get("/v1/runs/news")).json() == json.loads(shown)
