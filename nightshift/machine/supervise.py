"""
The processes of one home: started in order, restarted when they crash, stopped in reverse.

Nothing outlives the supervisor: on Linux its children are asked to stop when it dies, however it dies,
and the next start waits for what is left of the same home and then kills it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self, TextIO

from nightshift.base.errors import BadSetting, NightshiftError, PermanentError
from nightshift.base.files import private_folder

if TYPE_CHECKING:
    import psutil  # 6 MB, so at run time only whoever clears or records processes pays for it

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)
#: A process that ran this long is no longer held to have crashed at once.
HEALTHY_AFTER = timedelta(seconds=5)
LOG_LIMIT = 20 * 1024 * 1024

#: Runs in the child in place of the command, ties it to the supervisor's life, and becomes the command.
#: A program of its own, because code of ours between fork and exec could deadlock on another thread's lock.
TIE_TO_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit("the supervisor was gone before this process had begun")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
try:
    os.execvp(command[0], command)
except OSError as error:
    sys.exit(f"cannot run {command[0]}: {error.strerror}")
"""

State = Literal["waiting", "starting", "running", "pausing", "stopping", "stopped"]


class HomeInUse(PermanentError):
    """Another supervisor runs this home."""


class StartFailed(PermanentError):
    """A process ended, or gave no answer, before it was ready."""


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Be the only supervisor of this home; the lock goes with the process, however that ends."""
    with (private_folder(home / "run") / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "PID"
            raise HomeInUse(
                f"{home} is already run by process {holder}; stop it (`kill {holder}`), "
                "or set NIGHTSHIFT_HOME to another folder"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, and how to know that it runs."""

    name: str
    command: Sequence[str]
    #: On top of the supervisor's own environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: Returns once the process is of use, raises when it will not be.
    ready: Callable[[], Awaitable[None]] | None = None
    #: Turns what the process logged before it failed to start into a reason and a remedy.
    explain: Callable[[str], str | None] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: timedelta = timedelta(seconds=10)
    cwd: Path | None = None


@dataclass(frozen=True)
class Status:
    """How one process is doing."""

    name: str
    state: State
    since: datetime
    pid: int | None = None
    restarts: int = 0
    last_exit: str | None = None


@dataclass
class _Child:
    spec: ProcessSpec
    log: Path
    status: Status
    started: asyncio.Future[None]
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None
    running_since: datetime | None = None
    problem: Exception | None = None
    log_position: int = 0

    def said(self) -> str:
        """What it logged since it was last started."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self.log_position :].decode(errors="replace")


class Supervisor:
    """Keeps processes running; use it as ``async with Supervisor(...)``, holding the home's lock."""

    def __init__(
        self,
        processes: Sequence[ProcessSpec],
        home: Path,
        *,
        on_change: Callable[[Status], None] | None = None,
        terminal: TextIO | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``on_change`` must not raise; ``terminal`` also gets what the processes log, prefixed."""
        self._processes = processes
        self._home = home
        self._on_change = on_change
        self._terminal = terminal
        self._sleep = sleep
        self._now = now
        self._children: list[_Child] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def status(self) -> list[Status]:
        """How each process is doing, in the order in which they start."""
        return [child.status for child in self._children]

    async def start(self) -> None:
        """Start every process, each once the one before it is ready; if one does not start, stop them all."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start the supervisor in the main thread: its processes end with that thread")
        await clear_leftovers(self._home)
        loop = asyncio.get_running_loop()
        self._children = [
            _Child(
                spec,
                self._home / "logs" / f"{spec.name}.log",
                Status(spec.name, "waiting", self._now()),
                loop.create_future(),
            )
            for spec in self._processes
        ]
        try:
            for child in self._children:
                child.keeper = asyncio.create_task(self._keep(child))
                await asyncio.wait({child.keeper, child.started}, return_when=asyncio.FIRST_COMPLETED)
                if child.keeper.done():
                    await child.keeper
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop every process, the last one first; whoever takes too long is killed."""
        for child in reversed(self._children):
            if child.keeper is None:
                continue
            self._change(child, "stopping")
            if child.process:
                await self._end(child.process, child.spec)
            else:
                child.keeper.cancel()
            await asyncio.gather(child.keeper, return_exceptions=True)
            self._change(child, "stopped", pid=None)

    async def _keep(self, child: _Child) -> None:
        pause = FIRST_PAUSE
        while True:
            child.problem = child.running_since = None
            try:
                how = await self._run(child)
            except (OSError, BadSetting) as error:
                how = f"cannot be run: {error}"
            if child.status.state == "stopping":
                self._change(child, "stopping", pid=None, last_exit=how)
                return
            if not child.started.done():
                self._change(child, "stopped", pid=None, last_exit=how)
                raise _start_failed(child, how)
            if child.running_since and self._now() - child.running_since >= HEALTHY_AFTER:
                pause = FIRST_PAUSE
            restarts = child.status.restarts + 1
            self._change(child, "pausing", pid=None, last_exit=how, restarts=restarts)
            await self._sleep(pause.total_seconds())
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _run(self, child: _Child) -> str:
        """Run it once, from start to end, and say how it ended."""
        spec = child.spec
        pid_file = private_folder(self._home / "run") / f"{spec.name}.pid"
        child.log_position = _next_position(child.log)
        with child.log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", TIE_TO_PARENT, str(os.getpid()), *spec.command),
                env={**os.environ, **spec.env},
                cwd=spec.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is the supervisor's to handle
            )
        child.process = process
        companions = [asyncio.create_task(self._await_ready(child, process))]
        if self._terminal:
            companions.append(asyncio.create_task(_follow(child, self._terminal)))
        try:
            self._change(child, "starting", pid=process.pid)
            _record(pid_file, process.pid)
            code = await process.wait()
        finally:
            child.process = None
            for companion in companions:
                companion.cancel()
            _kill_group(process.pid)  # what it started and left behind
            pid_file.unlink(missing_ok=True)
            await asyncio.gather(*companions, return_exceptions=True)
        if child.problem:
            return f"not ready: {child.problem}"
        return f"exit code {code}" if code >= 0 else f"signal {-code} ({signal.strsignal(-code)})"

    async def _await_ready(self, child: _Child, process: asyncio.subprocess.Process) -> None:
        try:
            if child.spec.ready:
                await child.spec.ready()
        except Exception as error:
            child.problem = error
            await self._end(process, child.spec)
            return
        if child.status.state == "starting":
            child.running_since = self._now()
            self._change(child, "running")
        if not child.started.done():
            child.started.set_result(None)

    async def _end(self, process: asyncio.subprocess.Process, spec: ProcessSpec) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(spec.stop_signal)
        try:
            async with asyncio.timeout(spec.stop_timeout.total_seconds()):
                await process.wait()
        except TimeoutError:
            _kill_group(process.pid)
            await process.wait()

    def _change(self, child: _Child, state: State, **facts: Any) -> None:
        child.status = replace(child.status, state=state, since=self._now(), **facts)
        if self._on_change:
            self._on_change(child.status)


async def clear_leftovers(home: Path, patience: timedelta = timedelta(seconds=15)) -> list[str]:
    """
    Wait until what a killed supervisor of this home left behind has stopped, then kill what has not.

    Returns the names of those that had to be killed. Only for the holder of the home's lock: it
    cannot tell a leftover from the process of a supervisor that lives.
    """
    left = {file: process for file in (home / "run").glob("*.pid") if (process := _recorded(file))}
    if sys.platform != "linux":
        for process in left.values():
            process.terminate()
    slow = await _alive_after(left, patience)
    for process in slow.values():
        _kill_group(process.pid)
    await _alive_after(slow, timedelta(seconds=5))
    for file in left:
        file.unlink(missing_ok=True)
    return [file.stem for file in slow]


async def _alive_after(left: dict[Path, psutil.Process], patience: timedelta) -> dict[Path, psutil.Process]:
    until = time.monotonic() + patience.total_seconds()
    while left := {file: process for file, process in left.items() if _is_alive(process)}:
        if time.monotonic() > until:
            break
        await asyncio.sleep(0.05)
    return left


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _record(file: Path, pid: int) -> None:
    import psutil

    with suppress(psutil.NoSuchProcess):
        file.write_text(f"{pid} {psutil.Process(pid).create_time():.2f}")


def _recorded(file: Path) -> psutil.Process | None:
    """The process this file was written for, unless its id now belongs to another."""
    import psutil

    try:
        pid, started = file.read_text().split()
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(started)) < 1 else None
    except (psutil.NoSuchProcess, ValueError):
        return None


def _kill_group(pid: int) -> None:
    """Kill the process and what it started: each process of ours leads a group of its own."""
    # PermissionError is what macOS says of a group whose members have ended.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def last_lines(text: str, count: int = 8) -> str:
    """The end of a log, indented to be quoted."""
    return "\n".join(f"  {line}" for line in text.splitlines()[-count:])


def _start_failed(child: _Child, how: str) -> Exception:
    if isinstance(child.problem, NightshiftError):
        return child.problem
    said = child.said()
    reason = child.spec.explain(said) if child.spec.explain else None
    message = f"{child.spec.name} did not start ({how})" + (f": {reason}" if reason else "")
    return StartFailed(f"{message}\n{child.log} ends with:\n{last_lines(said)}" if said else message)


def _next_position(log: Path) -> int:
    """Where the next words in this log will be; one that grew too long is put aside."""
    private_folder(log.parent)
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_LIMIT:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


async def _follow(child: _Child, terminal: TextIO) -> None:
    """Copy what is written to the log; a pipe would break the process when the supervisor is killed."""
    with child.log.open("rb") as file:
        file.seek(child.log_position)
        try:
            while True:
                _copy_lines(child.spec.name, file, terminal)
                await asyncio.sleep(0.2)
        finally:
            _copy_lines(child.spec.name, file, terminal)


def _copy_lines(name: str, file: BinaryIO, terminal: TextIO) -> None:
    while (line := file.readline()).endswith(b"\n"):
        terminal.write(f"{name:>9} | {line.decode(errors='replace')}")
    file.seek(-len(line), os.SEEK_CUR)
    terminal.flush()
