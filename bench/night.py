"""
``python -m bench.night [--minutes 8] [--cap 1]``: a night at 60 times its speed; do the books balance?

The whole deployment as `nightshift up` starts it, a bot that tells what it sees and does its work,
people who write in twenty channels in bursts, a model that limits everybody now and then, and a cap that may
be reached before morning. In the end the simulated model's own count of calls, tokens and money is held
against what was booked; it fails if they differ, or if more was spent than the cap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.scene import CHECKOUT
from nightshift.client import Nightshift
from nightshift.demo.community import ANSWERS
from nightshift.demo.model import Fault, FaultRule, SimulatedModel, SimulatedModelOptions, simulated_model

SPEED = 60
CHANNELS = 20
#: A night's messages of one channel.
MESSAGES = 100
READY_S = 60
#: Three times a night the next twenty calls are refused.
STORM = FaultRule(Fault.parse("429; retry-after=1"), times=20)
STORMS = 3
SETTINGS = """
web_port = {port}
flower_port = 0
redis_port = 0

[model]
url = "{model}"
name = "flash-simulated"

[budget]
day = {cap}

[agents.owl]
delivers = "bot"
quiet_from = 00:00:00
quiet_until = 00:00:00

# Every pause a sixtieth of what it is by default.
[heartbeat]
interval = 30
spacing = 1
flood_window = 10
forced_after = 720
acts_per_day = 4
repeat_after = 1440
backoff = [1, 2, 5, 15, 60]
turn = 0.5
defer = 1
"""


@dataclass
class Night:
    """One deployment, and what its bot saw."""

    home: Path
    url: str
    told: int = 0
    did: Counter[str] = field(default_factory=Counter)

    async def command(self, *words: str) -> Any:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nightshift.cli",
            *words,
            env=self.environment,
            cwd=CHECKOUT,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return out.decode().strip()

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "NIGHTSHIFT_HOME": str(self.home)}


@asynccontextmanager
async def deployment(model: SimulatedModel, cap: str) -> AsyncIterator[Night]:
    """`nightshift up` in a home of its own."""
    with socket.socket() as probe, tempfile.TemporaryDirectory(prefix="ns-night-") as folder:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        night = Night(Path(folder), f"http://127.0.0.1:{port}")
        (night.home / "nightshift.toml").write_text(SETTINGS.format(port=port, cap=cap, model=model.url))
        command = [sys.executable, "-m", "nightshift.cli", "up"]
        with (night.home / "up.log").open("wb") as log:
            up = subprocess.Popen(command, cwd=CHECKOUT, env=night.environment, stdout=log, stderr=log)
        try:
            await ready(night, up)
            yield night
        finally:
            up.send_signal(signal.SIGINT)
            await asyncio.to_thread(up.wait, 60)


async def ready(night: Night, up: subprocess.Popen[bytes]) -> None:
    said = night.home / "up.log"
    async with asyncio.timeout(READY_S):
        while "Ready after" not in said.read_text():
            if up.poll() is not None:
                raise RuntimeError(said.read_text())
            await asyncio.sleep(0.2)


async def talk(night: Night, bot: Nightshift, seconds: float) -> None:
    """People write in bursts, each channel at its own times."""
    chance = random.Random(7)
    moments = sorted(
        (start + n * chance.uniform(0.3, 2), f"channel-{channel}")
        for channel in range(CHANNELS)
        for start in (chance.uniform(0, seconds - 20) for _ in range(MESSAGES // 5))
        for n in range(5)
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, (moment, channel) in enumerate(moments):
        await asyncio.sleep(max(began + moment - loop.time(), 0))
        person = chance.choice(("ann", "ben", "cem"))
        await bot.observe(
            channel, f"m{number}", f"thought {number} of {person}", user_id=person, at=datetime.now(UTC)
        )
        night.told += 1


async def storm(model: SimulatedModel, seconds: float) -> None:
    for _ in range(STORMS):
        await asyncio.sleep(seconds / (STORMS + 1))
        model.set_faults(STORM)


async def answer(night: Night, bot: Nightshift) -> None:
    async for work in bot.work():
        night.did[work.cause] += 1
        await work.reply(f"about {work.channel}: noted")


async def say(night: Night, bot: Nightshift) -> None:
    async for delivery in bot.deliveries():
        night.did["said"] += 1
        await delivery.sent(f"said-{night.did['said']}")


async def live_through(minutes: float, cap: str) -> dict[str, Any]:
    options = SimulatedModelOptions(values=ANSWERS)
    async with simulated_model(options) as model, deployment(model, cap) as night:
        made = await night.command("tokens", "create", "owl", "--role", "bot", "--agent", "owl", "--json")
        async with Nightshift(night.url, json.loads(made)["token"], platform="chat") as bot:
            bot.connected(user_id="owl")
            meanwhile = [
                asyncio.create_task(each)
                for each in (answer(night, bot), say(night, bot), storm(model, minutes * 60))
            ]
            await talk(night, bot, minutes * 60)
            await night.command("switches", "set", "chat_llm_enabled", "off")
            await settle(night)
            for task in meanwhile:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*meanwhile)
        counted = model.total
        [booked] = json.loads(await night.command("costs", "--by", "day", "--json"))["costs"]
        runs = json.loads(await night.command("runs", "--limit", "10000", "--json"))
        return {
            "messages told": night.told,
            "the bot did": dict(night.did),
            "runs": Counter(f"{run['source'].split(':')[0]} {run['state']}" for run in runs),
            "why not": Counter(run["reason"] for run in runs if run["state"] != "done").most_common(5),
            "calls, the model's count": dict(counted.outcomes),
            "cost, the model's count": counted.cost_micro_usd,
            "cost, as booked": booked["cost"],
            "cost, as the runs say": sum(run["cost"] for run in runs),
            "cost, the cap": int(Decimal(cap) * 1_000_000),
            "tokens, the model's count": counted.prompt_tokens + counted.completion_tokens,
            "tokens, as booked": booked["tokens_in"] + booked["tokens_out"],
        }


def unbalanced(found: dict[str, Any]) -> str:
    """What does not agree, if anything."""
    for what in ("cost", "tokens"):
        counts = {name: count for name, count in found.items() if name.startswith(f"{what}, ")}
        cap = counts.pop("cost, the cap", None)
        if len(set(counts.values())) > 1:
            return f"the books do not balance: {counts}"
        if cap is not None and max(counts.values()) > cap:
            return f"more was spent than the cap: {counts}"
    return ""


async def settle(night: Night) -> None:
    """Wait until nothing runs any more."""
    async with asyncio.timeout(120):
        while json.loads(await night.command("status", "--json"))["open"]["running"]:
            await asyncio.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.night")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--cap", default="1", help="US dollars for the night")
    given = parser.parse_args()
    found = asyncio.run(live_through(given.minutes, given.cap))
    print(json.dumps(found, indent=2, default=str))
    sys.exit(unbalanced(found) or 0)


if __name__ == "__main__":
    main()
