"""The simulated model under its public name: what it offers, and that a bot's tests can have it."""

from __future__ import annotations

import subprocess
import sys

from nightshift import simulator
from nightshift.base.home import CHECKOUT
from nightshift.demo import model

OFFERED = "Fault FaultRule Row SimulatedModel SimulatedModelOptions serve simulated_model"

ASKED_WITHOUT_A_SERVERS_PACKAGES = """
import asyncio, sys
for name in ("celery", "fastapi", "genai_prices", "openai", "pydantic", "redis", "structlog"):
    sys.modules[name] = None

import aiohttp
from nightshift.simulator import simulated_model

async def main():
    question = {"model": "flash-simulated", "messages": [{"role": "user", "content": "What is new?"}]}
    async with simulated_model() as model, aiohttp.ClientSession() as session:
        async with session.post(f"{model.url}/chat/completions", json=question) as answer:
            print((await answer.json())["choices"][0]["message"]["content"])

asyncio.run(main())
"""


def test_it_offers_these_names_and_no_other() -> None:
    assert sorted(simulator.__all__) == OFFERED.split()
    assert all(getattr(simulator, name) is getattr(model, name) for name in OFFERED.split())


def test_it_answers_where_no_more_is_installed_than_a_bot_needs() -> None:
    said = subprocess.run(
        [sys.executable, "-c", ASKED_WITHOUT_A_SERVERS_PACKAGES],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.startswith("[simulated]"), said.stderr
