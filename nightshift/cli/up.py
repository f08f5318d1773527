"""
The small profile: everything on this machine, in one terminal, until Ctrl-C.

What listens, listens on the loopback interface.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import typer
from redis.exceptions import RedisError

import nightshift
from nightshift.access.tokens import new_secret
from nightshift.agents.settings import DEFAULT_AGENT
from nightshift.base.errors import NightshiftError, StoreUnreachable
from nightshift.base.files import private_folder
from nightshift.base.home import simulated_model
from nightshift.base.words import span, stamp
from nightshift.cli.runs import line_of
from nightshift.demo.community import ANSWERS
from nightshift.deployment import Deployment, process_settings
from nightshift.machine import embedded
from nightshift.machine.commands import checkout, environment, start_command
from nightshift.machine.credentials import (
    WEB,
    Made,
    flower_credentials,
    make_bots_token,
    make_flower_credentials,
    make_once,
)
from nightshift.machine.sockets import refuse_taken_port
from nightshift.machine.supervise import ProcessSpec, Status, Supervisor, clear_leftovers, lock_home
from nightshift.processes.signs_of_life import REPORT_EVERY, leave, read_processes, report
from nightshift.runs.states import State
from nightshift.settings import Settings
from nightshift.status.overview import Overview, await_ready, leader, read_overview
from nightshift.store.client import store_now
from nightshift.store.events import Event, follow_events
from nightshift.store.ground import QUICK

LOOPBACK = "127.0.0.1"
KILLED = 130
#: How long a process may take until it is of use.
PATIENCE = timedelta(seconds=60)
LOOK_AGAIN = timedelta(seconds=0.1)
#: Who leads is looked up with every third report, once it is known.
ASK_WHO_LEADS = 3
#: A worker lets its tasks end for 20 s, then hands back those that have not.
WORKER_STOP = timedelta(seconds=35)
DEMO = (
    "This is the demo: the model is simulated, the people are not real, and all of it stays in this folder. "
    "`nightshift init` sets up your own."
)
#: Events that are worth a line.
TOLD = ("run_settled", "run_returned", "slot_skipped")
TROUBLE = (RedisError, NightshiftError, OSError)


def run_small_profile(*, quiet: bool) -> int:
    """Run it in this terminal until it is asked to stop; returns the exit code."""
    settings = process_settings()
    with lock_home(settings.home):
        return asyncio.run(_SmallProfile(settings, quiet=quiet).run())


class _SmallProfile:
    def __init__(self, settings: Settings, *, quiet: bool) -> None:
        self._settings = settings
        self._quiet = quiet
        self._here = Deployment(settings, QUICK)
        self._store = self._here.state
        self._ledger = self._here.runs.ledger
        self._supervisor = Supervisor((), settings.home)
        self._details: dict[str, str] = {}
        self._env = environment(settings)
        if settings.flower_port and "task_events" not in settings.model_fields_set:
            self._env["NIGHTSHIFT_TASK_EVENTS"] = "true"
        self._began = time.monotonic()
        self._starts: dict[str, float] = {}
        self._stopping = self._killed = False

    async def run(self) -> int:
        """Start, tell what happens, and stop in reverse order; a second signal kills."""
        living = asyncio.create_task(self._live())
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(signum, self._stop, living)
        try:
            await living
        except asyncio.CancelledError:
            self._say("Stopped. What was recorded is kept.")
        return KILLED if self._killed else 0

    def _stop(self, living: asyncio.Task[None]) -> None:
        if not self._stopping:
            self._stopping = True
            self._say("Stopping, what started last first. Ctrl-C again kills.")
            living.cancel()
            return
        self._killed = True
        for status in self._supervisor.status():
            if status.pid:
                with suppress(ProcessLookupError):
                    os.killpg(status.pid, signal.SIGKILL)

    async def _live(self) -> None:
        settings = self._settings
        try:
            self._say(f"nightshift {nightshift.__version__}, profile {settings.profile}, in {settings.home}")
            if settings.demo:
                self._say(DEMO)
            await clear_leftovers(settings.home)  # which may still hold the port
            if not settings.embedded:
                await self._check_stores()
            self._supervisor = Supervisor(self._processes(), settings.home, on_change=self._show_change)
            async with self._supervisor, asyncio.TaskGroup() as group:
                for telling in (self._say_when_ready, self._report, self._tell_what_happens):
                    group.create_task(telling())
        finally:
            simulated_model(settings.home).unlink(missing_ok=True)
            await self._here.close()

    # What is run

    def _processes(self) -> list[ProcessSpec]:
        """In the order in which they start."""
        return [
            *self._redis(),
            *self._simulated_model(),
            self._celery("beat", "beat", ready=partial(self._await_report, "beat")),
            self._celery(
                "worker",
                "worker",
                "--name",
                "small",
                ready=partial(self._await_report, "worker"),
                stop_timeout=WORKER_STOP,
            ),
            *self._web(),
            *self._community(),
            *self._flower(),
        ]

    def _redis(self) -> list[ProcessSpec]:
        if not self._settings.embedded:
            return []
        spec = embedded.spec_from(self._settings)
        embedded.prepare(spec)
        self._details["redis"] = f"on {LOOPBACK}:{spec.port}" if spec.port else "on a socket only"
        return [replace(embedded.process(spec), ready=partial(self._await_redis, spec))]

    def _simulated_model(self) -> list[ProcessSpec]:
        if self._settings.has_model and not self._settings.simulated:
            return []
        port = _port_of_simulated_model(self._settings.home)
        url = self._env["NIGHTSHIFT_MODEL__URL"] = f"http://{LOOPBACK}:{port}/v1"
        simulated_model(self._settings.home).write_text(url)
        self._details["sim-llm"] = f"at {url}: a simulated model, nothing it says is real"
        command = [sys.executable, "-m", "nightshift.cli", "sim-llm", "--port", str(port)]
        for name, values in ANSWERS.items():
            command += [word for value in values for word in ("--value", f"{name}={json.dumps(value)}")]
        return [ProcessSpec("sim-llm", command, ready=partial(until, partial(_listens, LOOPBACK, port)))]

    def _celery(self, name: str, *what: str, **how: Any) -> ProcessSpec:
        return ProcessSpec(name, start_command(*what), env=self._env, cwd=checkout(), **how)

    def _web(self) -> list[ProcessSpec]:
        host, port = self._settings.web_host, self._settings.web_port
        if not port:
            return []
        refuse_taken_port(host, port, "NIGHTSHIFT_WEB_PORT")
        self._details["web"] = f"at http://{host}:{port}, {self._web_token()}"
        if self._settings.demo:
            make_bots_token(
                self._settings.home, DEFAULT_AGENT, new_secret
            )  # the web lets it in from its start
        command = [sys.executable, "-m", "nightshift.cli", "web"]
        return [
            ProcessSpec("web", command, env=self._env, ready=partial(until, partial(_listens, host, port)))
        ]

    def _community(self) -> list[ProcessSpec]:
        """People for the demo, which needs the web to be heard."""
        if not (self._settings.demo and self._settings.web_port):
            return []
        self._details["community"] = "a few people who are not real, talking in two rooms"
        return [
            ProcessSpec("community", [sys.executable, "-m", "nightshift.cli", "community"], env=self._env)
        ]

    def _web_token(self) -> str:
        if self._settings.web_token:
            return "token as set in NIGHTSHIFT_WEB_TOKEN"
        made = make_once(self._settings.home, WEB, new_secret)
        self._say_once(made, f"The console's token is {made.secret}")
        return f"token in {made.path}"

    def _flower(self) -> list[ProcessSpec]:
        settings = self._settings
        host, port = settings.flower_host, settings.flower_port
        if not port:
            return []
        refuse_taken_port(host, port, "NIGHTSHIFT_FLOWER_PORT")
        url = settings.flower_url or f"http://{host}:{port}"
        self._details["flower"] = f"at {url}, {self._flower_credentials()}"
        flower_credentials(settings)  # what Flower would refuse is refused before anything starts
        return [self._celery("flower", "flower", ready=partial(until, partial(_listens, host, port)))]

    def _flower_credentials(self) -> str:
        """Where they are; made, and told to whoever watches, if there are none yet."""
        if self._settings.flower_auth:
            return "credentials as set in NIGHTSHIFT_FLOWER_AUTH"
        made = make_flower_credentials(self._settings.home)
        user, _, password = made.secret.partition(":")
        self._say_once(made, f"Flower's user is {user}, its password {password}")
        return f"credentials in {made.path}"

    def _say_once(self, made: Made, what: str) -> None:
        if made.new and sys.stdout.isatty():  # not to a file, which others may read
            self._say(f"{what}. This is said once; it is kept in {made.path}.")

    async def _await_redis(self, spec: embedded.EmbeddedServer) -> None:
        await embedded.wait_ready(spec, PATIENCE)
        await self._check_stores()

    async def _check_stores(self) -> None:
        """Refuse a store that would lose what it acknowledges; warn of what else is unsafe."""
        settings = self._settings
        check = partial(embedded.check_store, allow_eviction=settings.allow_eviction)
        warnings = await check(self._store, allow_no_persistence=settings.allow_no_persistence)
        if settings.broker_url or not settings.embedded:
            try:
                # Messages are hints: those that a restart forgets are given again.
                warnings += await check(self._here.broker, allow_no_persistence=True, name="the broker")
            except StoreUnreachable as error:
                warnings.append(f"the broker does not answer: {error.__cause__}; check NIGHTSHIFT_BROKER_URL")
        for warning in warnings:
            self._warn(f"Warning: {warning}")

    async def _await_report(self, kind: str) -> None:
        began: datetime | None = None

        async def has_reported() -> bool:
            nonlocal began
            began = began or await store_now(self._store)
            found = await read_processes(self._store, self._ledger.keys)
            return any(each.kind == kind and each.seen >= began for each in found)

        await until(has_reported)

    # What is told

    async def _look(self) -> Overview:
        return await read_overview(self._ledger, self._here.controls.switches, self._here.agents.liveness)

    async def _say_when_ready(self) -> None:
        try:
            overview = await await_ready(self._look, PATIENCE)
        except TROUBLE as error:
            self._warn(f"Not ready: {error}")
            return
        for reason in overview.why:
            self._warn(f"Not ready: {reason}")
        if overview.ready:
            took = span(timedelta(seconds=time.monotonic() - self._began))
            self._say(
                f"Ready after {took}. Look with `nightshift status`, `nightshift jobs`, `nightshift runs`; "
                "Ctrl-C stops."
            )

    async def _report(self) -> None:
        """Tell the store how the processes are, and the person who leads among several beats."""
        name, keys = f"supervisor@{socket.gethostname()}:{os.getpid()}", self._ledger.keys
        led_by, turn = "", 0
        try:
            while True:
                with suppress(*TROUBLE):
                    await report(self._store, keys, name, "supervisor", self._facts())
                    if not led_by or turn % ASK_WHO_LEADS == 0:
                        leads = leader(await read_processes(self._store, keys))
                        if leads and leads.name != led_by:
                            led_by = leads.name
                            self._say(f"{led_by} leads")
                turn += 1
                await asyncio.sleep(REPORT_EVERY.total_seconds())
        finally:
            with suppress(*TROUBLE):
                await leave(self._store, keys, name)

    def _facts(self) -> dict[str, Any]:
        children = [asdict(each) | {"since": stamp(each.since)} for each in self._supervisor.status()]
        return {"profile": self._settings.profile, "home": str(self._settings.home), "children": children}

    async def _tell_what_happens(self) -> None:
        since = None
        while True:
            try:
                since = since or await store_now(self._store)
                async for event in follow_events(self._store, self._ledger.keys, since=since):
                    since = event.at + timedelta(milliseconds=1)
                    self._tell(event)
            except TROUBLE:  # the store is away, which its own lines say
                await asyncio.sleep(1)

    def _tell(self, event: Event) -> None:
        if event.facts.get("status") == State.FAILED:
            self._warn(line_of(event))
        elif event.type in TOLD:
            self._say(line_of(event))

    def _show_change(self, status: Status) -> None:
        name = status.name
        match status.state:
            case "starting":
                self._starts[name] = time.monotonic()
            case "running":
                took = span(timedelta(seconds=time.monotonic() - self._starts[name]))
                again = " again" if status.restarts else ""
                self._say(f"  {name:<8} ready{again} in {took:<6} {self._details.get(name, '')}".rstrip())
            case "pausing" if not self._stopping:
                log = self._settings.home / "logs" / f"{name}.log"
                self._warn(
                    f"  {name} ended ({status.last_exit}) and is started again, "
                    f"restart {status.restarts}; see {log}"
                )
            case "stopped":
                self._say(f"  {name:<8} stopped")

    def _say(self, text: str) -> None:
        if not self._quiet:
            _print(text)

    def _warn(self, text: str) -> None:
        _print(text, err=True, fg=typer.colors.YELLOW)


def _print(text: str, **how: Any) -> None:
    with suppress(OSError):  # the terminal may be gone, and everything is still to be stopped
        typer.secho(text, **how)


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def _port_of_simulated_model(home: Path) -> int:
    """A free port; the one it had last time if that is free, because others may have noted it down."""
    file = private_folder(home / "run") / "sim-llm.port"
    last = file.read_text().strip() if file.exists() else ""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, int(last) if last.isdigit() else 0))
        except OSError:
            probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    file.write_text(str(port))
    return port


async def until(there: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is there; a store that is away meanwhile says nothing about it."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while True:
                with suppress(RedisError):
                    if await there():
                        return
                await asyncio.sleep(LOOK_AGAIN.total_seconds())
    except TimeoutError:
        raise TimeoutError(f"no sign of life for {span(PATIENCE)}") from None
