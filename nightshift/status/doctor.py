"""What could be wrong with a deployment, looked at one thing at a time, each with the exact fix."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.agents.liveness import AgentLiveness, Bot
from nightshift.base.errors import BadSetting, UnsafeStore
from nightshift.base.home import SETTINGS_FILE
from nightshift.base.words import span, times, when
from nightshift.controls.switches import Switches
from nightshift.jobs.needs import missing_needs
from nightshift.jobs.row import Need
from nightshift.jobs.table import JobStatus, read_table
from nightshift.llm.breaker import Breaker
from nightshift.llm.endpoint_health import EndpointHealth, read_endpoints
from nightshift.llm.endpoints import why_not_reached
from nightshift.llm.settings import MAIN
from nightshift.llm.wiring import key_pools
from nightshift.machine import embedded, servers
from nightshift.machine.sockets import refuse_taken_port
from nightshift.platforms.platform import Platform, Readiness
from nightshift.platforms.settings import PlatformSettings
from nightshift.platforms.wiring import new_platform
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import QUEUE_NAMES, VISIBILITY_TIMEOUT
from nightshift.runs.states import State
from nightshift.settings import Settings, load_settings
from nightshift.status.overview import Overview, consumers, leader, read_overview
from nightshift.store.client import new_client, store_now, translated
from nightshift.store.ground import Ground
from nightshift.store.keys import Keys

OLDEST_PYTHON = (3, 12)
LARGEST_SKEW = timedelta(seconds=2)
PATIENCE = timedelta(seconds=3)
#: Of its memory limit, what makes a store worth a warning.
NEARLY_FULL = 0.8


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; ``fix`` says what to do unless it is ok."""

    name: str
    verdict: Literal["ok", "warn", "fail"]
    says: str
    fix: str = ""


async def examine() -> AsyncIterator[Check]:
    """Look at everything, from what the machine has to what the deployment does."""
    yield _python()
    try:
        settings = load_settings()
    except BadSetting as error:
        yield Check("settings", "fail", str(error), f"mend it in {SETTINGS_FILE} or in the environment")
        return
    yield _settings(settings)
    yield _user()
    yield _home(settings)
    if settings.embedded:
        yield _binaries(settings)
    async with new_client(servers.state_url(settings), retries=1, timeout=PATIENCE.total_seconds()) as store:
        try:
            before = datetime.now(UTC)
            at = await store_now(store)
            after = datetime.now(UTC)
        except RedisError as error:
            yield Check("store", "fail", str(translated(error)), _bring_up(settings, "NIGHTSHIFT_STATE_URL"))
            if settings.embedded and settings.redis_port:
                yield _port(settings.redis_port)
            return
        yield Check("store", "ok", "the state store answers")
        yield _clock(at, before, after)
        for check in await _safety(store, settings):
            yield check
        yield await _memory(store)
        yield await _broker(settings)
        yield await _graph(settings, store)
        for check in await _endpoints(settings, store):
            yield check
        for check in await _platforms(settings, store):
            yield check
        for check in await _deployment(store, settings):
            yield check


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Check(
            "python", "fail", f"this is Python {version}", "run nightshift with Python 3.12 or later"
        )
    return Check("python", "ok", f"Python {version}")


def _settings(settings: Settings) -> Check:
    if settings.settings_file is None:
        return Check("settings", "ok", f"environment and defaults; there is no {SETTINGS_FILE}")
    return Check("settings", "ok", f"read from {settings.settings_file} and the environment")


def _user() -> Check:
    if os.geteuid() == 0:
        fix = "run nightshift as a user of its own (in a container: `USER nightshift`)"
        return Check("user", "warn", "nightshift runs as root", fix)
    return Check("user", "ok", "not root")


def _home(settings: Settings) -> Check:
    home, secrets = settings.home, settings.home / "secrets"
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        fix = "set NIGHTSHIFT_HOME to a folder of your own"
        return Check("home", "fail", f"{there} cannot be written to", fix)
    if secrets.exists() and secrets.stat().st_mode & 0o077:
        return Check("home", "fail", f"others can enter {secrets}", f"`chmod 700 {secrets}`")
    return Check("home", "ok", f"{home} is writable, its secrets are private")


def _binaries(settings: Settings) -> Check:
    try:
        found = embedded.binaries(embedded.spec_from(settings))
    except BadSetting as error:
        return Check("binaries", "fail", str(error), "`pip install 'nightshift[embedded]'`")
    return Check("binaries", "ok", ", ".join(each.name for each in found))


def _port(port: int) -> Check:
    try:
        refuse_taken_port(embedded.LOOPBACK, port, embedded.PORT_VARIABLE)
    except BadSetting as error:
        return Check("port", "fail", str(error), f"set {embedded.PORT_VARIABLE} to another port, or to 0")
    return Check("port", "ok", f"port {port} is free")


def _bring_up(settings: Settings, variable: str) -> str:
    return "`nightshift up` starts it" if settings.embedded else f"check {variable} and the server behind it"


def _clock(at: datetime, before: datetime, after: datetime) -> Check:
    skew = max(before - at, at - after, timedelta(0))
    if skew >= LARGEST_SKEW:
        fix = "synchronise both machines' clocks (chrony, systemd-timesyncd)"
        return Check("clock", "fail", f"the store's clock is {span(skew)} from this one", fix)
    return Check("clock", "ok", "the store's clock agrees with this one")


async def _safety(store: Redis, settings: Settings) -> list[Check]:
    return [
        await _judged(
            "eviction",
            "the store evicts nothing",
            embedded.check_store(store, allow_eviction=settings.allow_eviction, allow_no_persistence=True),
        ),
        await _judged(
            "persistence",
            "the store keeps an append-only file",
            embedded.check_store(
                store, allow_eviction=True, allow_no_persistence=settings.allow_no_persistence
            ),
        ),
    ]


async def _judged(name: str, fine: str, checking: Awaitable[list[str]]) -> Check:
    """A check of the store's own, whose messages name the remedy behind the semicolon."""
    try:
        warnings = await checking
    except UnsafeStore as error:
        return _split(name, "fail", str(error))
    return _split(name, "warn", warnings[0]) if warnings else Check(name, "ok", fine)


def _split(name: str, verdict: Literal["warn", "fail"], message: str) -> Check:
    says, _, fix = message.partition("; ")
    return Check(name, verdict, says, fix)


async def _memory(store: Redis) -> Check:
    told = await store.info("memory")
    used, limit = int(told["used_memory"]), int(told.get("maxmemory", 0))
    if not limit:
        return Check("memory", "ok", f"the store uses {used >> 20} MB and has no limit of its own")
    says = f"the store uses {used >> 20} of {limit >> 20} MB"
    fix = "raise maxmemory (NIGHTSHIFT_REDIS_MAXMEMORY), or shorten the retention (NIGHTSHIFT_RETENTION_…)"
    return Check("memory", "warn", says, fix) if used > limit * NEARLY_FULL else Check("memory", "ok", says)


async def _broker(settings: Settings) -> Check:
    try:
        async with new_client(
            servers.plain_broker_url(settings), retries=1, timeout=PATIENCE.total_seconds()
        ) as broker:
            await store_now(broker)
    except RedisError as error:
        fix = _bring_up(settings, "NIGHTSHIFT_BROKER_URL")
        return Check("broker", "fail", f"the broker does not answer: {error}", fix)
    except BadSetting as error:
        return Check("broker", "fail", str(error), "set NIGHTSHIFT_BROKER_URL to a Redis")
    return Check("broker", "ok", "the broker answers")


async def _graph(settings: Settings, store: Redis) -> Check:
    url = servers.graph_url(settings)
    if url is None:
        return Check("graph", "ok", "there is none, and the jobs that need one are off")
    board = await Switches(store, Keys(settings.key_root), settings).read()
    async with new_client(url, retries=0, timeout=PATIENCE.total_seconds()) as graph:
        problem = (await missing_needs(settings, board, graph)).get(Need.GRAPH)
    if problem:
        return Check("graph", "fail", problem, "check NIGHTSHIFT_GRAPH_URL and the server")
    return Check("graph", "ok", "the graph answers")


async def _endpoints(settings: Settings, store: Redis) -> list[Check]:
    """Whether each endpoint of a model answers, all asked at once, and how its calls and keys have done."""
    described = settings.all_endpoints
    if not described:
        return [Check("endpoints", "ok", "there is none, and the jobs that ask a model are off")]
    asked = await asyncio.gather(*(why_not_reached(name, each) for name, each in described.items()))
    ground = Ground(store, Keys(settings.key_root))
    breaker, pools = Breaker(store, ground.keys), key_pools(ground, settings)
    standings = await read_endpoints(described, breaker, pools)
    return [_endpoint(settings, each, why) for each, why in zip(standings, asked, strict=True)]


def _endpoint(settings: Settings, standing: EndpointHealth, unreached: str) -> Check:
    check = f"endpoint {standing.name}"
    says = "; ".join((unreached or "it answers", standing.breaker, standing.key_count))
    told = "[model]" if standing.name == MAIN and settings.model.url else f"[endpoints.{standing.name}]"
    if unreached and standing.name == MAIN and settings.simulated:
        return Check(check, "fail", says, "`nightshift up` starts the model that it simulates")
    if unreached:
        return Check(check, "fail", says, f"see whether it is up, or mend {told} in {SETTINGS_FILE}")
    if standing.unread:
        return Check(check, "fail", says, f"mend {told} in {SETTINGS_FILE}, or the file that it names")
    if standing.lacks_keys:
        fix = f"give {told} a key that is accepted; one that rests comes back by itself"
        return Check(check, "warn", says, fix)
    if standing.pause is not None:
        fix = "nothing: it is tried again by itself; if it stays so, ask whoever runs it"
        return Check(check, "warn", says, fix)
    return Check(check, "ok", says)


async def _platforms(settings: Settings, store: Redis) -> list[Check]:
    """Whether each platform of the settings knows us, all asked at once."""
    described = settings.platforms.items()
    ground = Ground(store, Keys(settings.key_root))
    platforms = [new_platform(name, each, ground) for name, each in described]
    asked = await asyncio.gather(*(_readiness(platform) for platform in platforms))
    return [
        _platform(name, each, readiness) for (name, each), readiness in zip(described, asked, strict=True)
    ]


async def _readiness(platform: Platform) -> Readiness:
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await platform.ready()
    except TimeoutError:
        return Readiness(False, f"{platform.name} does not answer within {span(PATIENCE)}")
    finally:
        await platform.close()


def _platform(name: str, told: PlatformSettings, readiness: Readiness) -> Check:
    check = f"platform {name}"
    if not readiness.ready:
        fix = f"mend [platforms.{name}] in {SETTINGS_FILE}, or see whether {told.kind} is up"
        return Check(check, "fail", readiness.why, fix)
    file = told.token_file and told.token_file.expanduser()
    if file and file.stat().st_mode & 0o004:
        return Check(check, "warn", f"everybody can read {file}", f"`chmod 600 {file}`")
    known = f"ready, as {readiness.user_id}" if readiness.user_id else "ready"
    return Check(check, "ok", f"{known}; {readiness.why}" if readiness.why else known)


async def _deployment(store: Redis, settings: Settings) -> list[Check]:
    ledger = Ledger(store, Keys(settings.key_root))
    switches, liveness = Switches(store, ledger.keys, settings), AgentLiveness(store, ledger.keys)
    overview = await read_overview(ledger, switches, liveness)
    table = await read_table(store, ledger.keys)
    return [
        await _beat(ledger, overview),
        _pulse(overview),
        _queues(overview),
        *_bots(overview),
        _visibility(settings, table),
        await _rows(ledger, table),
        _dead(overview),
        _restarts(overview, settings),
    ]


async def _beat(ledger: Ledger, overview: Overview) -> Check:
    holder = leader(overview.processes)
    left = await ledger.redis.pttl(f"{ledger.keys.beat_prefix}:lock")
    if holder is None or left <= 0:
        return Check("beat", "fail", "nobody holds beat's lease", "`nightshift beat` or `nightshift up`")
    lapses = span(timedelta(milliseconds=left))
    return Check("beat", "ok", f"{holder.name} leads; unless renewed, its lease lapses in {lapses}")


def _pulse(overview: Overview) -> Check:
    pulse = overview.pulse
    if not pulse.held:
        fix = "`nightshift worker --role control`; then it is taken within 10 s of beat's trigger"
        return Check("pulse", "fail", "nobody holds the pulse, so no run is handed out", fix)
    return Check("pulse", "ok", f"{pulse.holder} holds it")


def _queues(overview: Overview) -> Check:
    idle = sorted(queue for queue in QUEUE_NAMES if not consumers(overview.processes, queue))
    if idle:
        return Check("queues", "fail", f"no live worker consumes {', '.join(idle)}", "`nightshift worker`")
    return Check("queues", "ok", "every queue is consumed")


def _bots(overview: Overview) -> list[Check]:
    """The bots that are connected, and those that were within a day."""
    if not overview.bots:
        return [Check("bots", "ok", "no agent's own bot has been heard of within a day")]
    return [_bot(bot, overview.at) for bot in overview.bots]


def _bot(bot: Bot, now: datetime) -> Check:
    check = f"bot of {bot.agent} ({bot.platform} {bot.process})"
    heard = f"last heard {when(bot.heard, now)}"
    if not bot.alive:
        fix = "start it, or see whether it reaches the web; docs/adopt.md tells how it connects"
        return Check(check, "warn", f"it is gone, {heard}; it served {bot.serves}", fix)
    return Check(check, "ok", f"it serves {bot.serves}, connected {when(bot.connected_since, now)}, {heard}")


def _visibility(settings: Settings, table: Sequence[JobStatus]) -> Check:
    options = settings.celery.get("broker_transport_options", {})
    timeout = timedelta(seconds=options.get("visibility_timeout", VISIBILITY_TIMEOUT.total_seconds()))
    longest = max(table, key=lambda job: job.deadline_s, default=None)
    if longest and timedelta(seconds=longest.deadline_s) >= timeout:
        says = f"messages of {longest.name} come back after {span(timeout)}, before its deadline"
        fix = f"set visibility_timeout above {longest.deadline_s:g} in [celery.broker_transport_options]"
        return Check("visibility", "fail", says, fix)
    return Check("visibility", "ok", f"messages come back after {span(timeout)}, above every deadline")


async def _rows(ledger: Ledger, table: Sequence[JobStatus]) -> Check:
    """Jobs and schedules that cannot be kept, and were set aside so that the others go on."""
    redis, keys = ledger.redis, ledger.keys
    found = {job.name: job.why for job in table if job.broken}
    schedules = [key async for key in redis.scan_iter(keys.schedule("*"), count=1000)]
    pipeline = redis.pipeline(transaction=False)
    for key in schedules:
        pipeline.hget(key, "quarantined")
    for key, why in zip(schedules, await pipeline.execute(), strict=True):
        if why:
            found[key.removeprefix(keys.schedule(""))] = why
    if not found:
        return Check("rows", "ok", "every job and schedule can be kept")
    says = "; ".join(f"{name}: {why}" for name, why in sorted(found.items()))
    return Check("rows", "fail", f"set aside, so never due: {says}", "mend the row, then store it again")


def _dead(overview: Overview) -> Check:
    if dead := overview.counts[State.FAILED]:
        fix = "`nightshift dead` lists them, `nightshift dead replay` lets them try again"
        return Check("dead runs", "warn", f"{dead} failed runs are kept", fix)
    return Check("dead runs", "ok", "no run has failed")


def _restarts(overview: Overview, settings: Settings) -> Check:
    children = [
        child for each in overview.processes if each.alive for child in each.facts.get("children", ())
    ]
    fallen = [
        f"{child['name']} {times(child['restarts'])} ({child['last_exit']})"
        for child in children
        if child["restarts"]
    ]
    if fallen:
        fix = f"read the end of {settings.home / 'logs'}/NAME.log"
        return Check("restarts", "warn", f"restarted after a crash: {', '.join(fallen)}", fix)
    return Check("restarts", "ok", "no process had to be restarted")
