"""How the deployment stands: what status, console and API show at a glance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from redis.asyncio import Redis

from nightshift.agents.liveness import AgentLiveness, Bot
from nightshift.base.instants import from_ms
from nightshift.controls.freeze import Freezing
from nightshift.controls.switches import Switches
from nightshift.intake.connections import Connections
from nightshift.processes.signs_of_life import Process, read_processes
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.runs.states import ENDED, OPEN
from nightshift.store.client import AWAY, store_now, text_hash, text_list
from nightshift.store.keys import Keys
from nightshift.store.pages import LOOK_THROUGH

#: A holder of the pulse looks again just when its shift lapses, and may come a little late.
PULSE_SLACK = timedelta(seconds=2)
LOOK_AGAIN = timedelta(seconds=0.2)

#: Says what keeps a deployment that is ready from doing all of its work.
Warn = Callable[[], Awaitable[list[str]]]


@dataclass(frozen=True)
class Pulse:
    """Who hands out what is due."""

    holder: str
    until: datetime | None
    held: bool


@dataclass(frozen=True)
class Overview:
    """Everything that says whether the deployment works, at one moment."""

    ready: bool
    #: What is missing, in words; empty when ready.
    why: Sequence[str]
    #: What is worth a look though it is no reason not to be ready, in words.
    warnings: Sequence[str]
    #: By the store's clock, as is everything below.
    at: datetime
    processes: Sequence[Process]
    #: Agents' own bots, by agent: those that are there, and those that fell silent within a day.
    bots: Sequence[Bot]
    pulse: Pulse
    #: Runs that have not ended, by state; the soonest 10,000 are looked at.
    open: Mapping[str, int]
    #: Runs that are kept: all that are open, and how the others ended.
    counts: Mapping[str, int]
    #: Runs that ended since midnight UTC, by how, and what they cost in micro-USD.
    today: Mapping[str, int]
    switches: Mapping[str, bool]
    #: Paused jobs, and by whom.
    paused: Mapping[str, str]
    #: Who stopped every call and send, if anybody did.
    frozen: Freezing | None


async def read_overview(
    ledger: Ledger, switches: Switches, liveness: AgentLiveness, *, warn: Warn | None = None
) -> Overview:
    """See whether all is there that hands work out and carries it out; ``warn`` says what else is amiss."""
    redis, keys = ledger.redis, ledger.keys
    processes = await read_processes(redis, keys)
    pulse = await read_pulse(redis, keys)
    board = await switches.read()
    now = await store_now(redis)
    tally = await ledger.tally(now.date())
    today = dict.fromkeys((*map(str, ENDED), "cost"), 0)
    for (_, kind), number in tally.items():
        if kind in today:
            today[kind] += number
    why = _missing(processes, pulse)
    bots = await liveness.bots()
    warnings = [
        f"no bot of agent {each.agent} serves {each.serves} any more" for each in bots if not each.alive
    ]
    if warn:
        warnings += await warn()
    return Overview(
        ready=not why,
        why=why,
        warnings=warnings,
        at=now,
        processes=processes,
        bots=bots,
        pulse=pulse,
        open=await _open_by_state(ledger),
        counts=await ledger.counts(),
        today=today,
        switches=board.on,
        paused=board.paused,
        frozen=board.frozen,
    )


async def unreachable(connections: Connections, platforms: Iterable[str]) -> list[str]:
    """The platforms that were found down when somebody last looked."""
    found = {name: await connections.find(name) for name in platforms}
    return [f"platform {name}: {each.why}" for name, each in found.items() if each and not each.up]


async def await_ready(look: Callable[[], Awaitable[Overview]], patience: timedelta) -> Overview:
    """Look until the deployment is ready or patience ends; the last look tells which."""
    give_up = asyncio.get_running_loop().time() + patience.total_seconds()
    while True:
        late = asyncio.get_running_loop().time() >= give_up
        try:
            overview = await look()
        except AWAY:
            if late:
                raise
        else:
            if overview.ready or late:
                return overview
        await asyncio.sleep(LOOK_AGAIN.total_seconds())


async def read_pulse(redis: Redis, keys: Keys) -> Pulse:
    lane = await text_hash(redis, keys.shift)
    if not lane.get("until"):
        return Pulse("", None, held=False)
    until = from_ms(lane["until"])
    return Pulse(lane["holder"], until, held=until + PULSE_SLACK > await store_now(redis))


def consumers(processes: Sequence[Process], queue: str) -> list[Process]:
    """The live workers that take messages from this queue."""
    return [each for each in processes if each.alive and queue in each.facts.get("queues", ())]


def leader(processes: Sequence[Process]) -> Process | None:
    """The beat that holds the lease."""
    return next((each for each in processes if each.alive and each.facts.get("leads")), None)


def _missing(processes: Sequence[Process], pulse: Pulse) -> list[str]:
    missing = []
    if leader(processes) is None:
        standing_by = [each.name for each in processes if each.alive and each.kind == "beat"]
        missing.append(
            f"no beat leads yet; {', '.join(standing_by)} will once the lease is free"
            if standing_by
            else "no beat is there, so nothing periodic is recorded; `nightshift beat` starts one"
        )
    if idle := sorted(queue for queue in QUEUE_NAMES if not consumers(processes, queue)):
        missing.append(f"no live worker consumes {', '.join(idle)}; `nightshift worker` starts one")
    missing += [
        f"{each.name} is not ready: {each.facts.get('why')}"
        for each in processes
        if each.alive and each.facts.get("ready") is False
    ]
    if not pulse.held:
        missing.append(
            "nobody holds the pulse, so no run is handed out; "
            "a worker of the queue control takes it up when beat next asks, every 10 s"
        )
    return missing


async def _open_by_state(ledger: Ledger) -> dict[str, int]:
    soonest = await text_list(ledger.redis.zrange(ledger.keys.open, 0, LOOK_THROUGH - 1))
    pipeline = ledger.redis.pipeline(transaction=False)
    for run in soonest:
        pipeline.hget(ledger.keys.run(run), "state")
    found = Counter(await pipeline.execute())
    return {str(state): found[state] for state in OPEN}
