from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from nightshift.base.errors import BadSetting
from nightshift.machine.supervise import (
    LOG_LIMIT,
    HomeInUse,
    ProcessSpec,
    StartFailed,
    State,
    Status,
    Supervisor,
    clear_leftovers,
    lock_home,
)

SLEEPER = ("sleep", "600")


class Watch:
    """Everything that changed, and a way to wait for the next change of a kind."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, State]] = []
        self.changes: asyncio.Queue[Status] = asyncio.Queue()

    def __call__(self, status: Status) -> None:
        self.seen.append((status.name, status.state))
        self.changes.put_nowait(status)

    async def next(self, state: State) -> Status:
        async with asyncio.timeout(10):
            while (status := await self.changes.get()).state != state:
                pass
        return status


class Naps:
    """Sleeps that take no time and are remembered; once there are enough of them, one that never ends."""

    def __init__(self, enough: int = 1000) -> None:
        self.taken: list[float] = []
        self.enough = enough
        self.had_enough = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if len(self.taken) >= self.enough:
            self.had_enough.set()
            await asyncio.Event().wait()


def stubborn(home: Path, grandchildren: list[int]) -> ProcessSpec:
    """It ignores SIGTERM, as does the process it starts, and is ready once it has told that one's id."""
    channel = home / "channel"
    os.mkfifo(channel)

    async def ready() -> None:
        grandchildren.append(int(await asyncio.to_thread(channel.read_text)))

    command = ["sh", "-c", "trap '' TERM; sleep 600 & echo $! > channel; wait"]
    return ProcessSpec("stubborn", command, ready=ready, stop_timeout=timedelta(seconds=0.1), cwd=home)


def await_end(pid: int, seconds: float = 10) -> None:
    """Wait until a process that may not be ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], seconds)[0], f"{psutil.Process(pid)} lives on"
    finally:
        os.close(handle)


@contextmanager
def script(text: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own that has said a line; killed -9 in the end, as are its children."""
    command = [sys.executable, "-c", text, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        children = psutil.Process(process.pid).children(recursive=True)
        try:
            yield process
        finally:
            process.kill()
            for child in children:
                if child.is_running():
                    child.kill()


async def test_a_process_that_keeps_crashing_is_restarted_ever_more_slowly(tmp_path: Path) -> None:
    naps = Naps(enough=8)
    async with Supervisor(
        [ProcessSpec("crasher", ["sh", "-c", "exit 3"])], tmp_path, sleep=naps
    ) as supervisor:
        await naps.had_enough.wait()
        (status,) = supervisor.status()

    assert naps.taken == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (status.state, status.restarts, status.last_exit) == ("pausing", 8, "exit code 3")


async def test_after_a_while_of_health_a_crash_is_the_first_again(tmp_path: Path, now: datetime) -> None:
    naps, watch = Naps(), Watch()
    clock = [now]

    async with Supervisor(
        [ProcessSpec("p", SLEEPER)], tmp_path, on_change=watch, sleep=naps, now=lambda: clock[0]
    ):
        for healthy in (0, 4, 5):
            running = await watch.next("running")
            clock[0] += timedelta(seconds=healthy)
            assert running.pid
            os.kill(running.pid, signal.SIGKILL)
            assert (await watch.next("pausing")).last_exit == "signal 9 (Killed)"

    assert naps.taken == [1, 2, 1]


async def test_processes_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    watch = Watch()

    async def after_a_while() -> None:
        await asyncio.sleep(0.05)

    first = ProcessSpec("first", SLEEPER, ready=after_a_while)
    async with Supervisor([first, ProcessSpec("second", SLEEPER)], tmp_path, on_change=watch) as supervisor:
        pids = [status.pid for status in supervisor.status()]
        assert [os.getsid(pid or 0) for pid in pids] == pids, "a Ctrl-C in the terminal would reach them"

    started = [change for change in watch.seen if change[1] in ("starting", "running")]
    assert started == [(name, state) for name in ("first", "second") for state in ("starting", "running")]
    assert [name for name, state in watch.seen if state == "stopped"] == ["second", "first"]
    assert [status.last_exit for status in supervisor.status()] == ["signal 15 (Terminated)"] * 2
    assert not list((tmp_path / "run").glob("*.pid"))


async def test_a_process_that_ignores_its_stop_signal_is_killed_with_what_it_started(tmp_path: Path) -> None:
    grandchildren: list[int] = []
    async with Supervisor([stubborn(tmp_path, grandchildren)], tmp_path) as supervisor:
        assert supervisor.status()[0].state == "running"

    assert supervisor.status()[0].last_exit == "signal 9 (Killed)"
    await_end(grandchildren[0])


async def test_what_a_crashed_process_started_does_not_live_on(tmp_path: Path) -> None:
    naps = Naps(enough=1)
    crasher = ProcessSpec("crasher", ["sh", "-c", "sleep 600 & echo $! > grandchild"], cwd=tmp_path)
    async with Supervisor([crasher], tmp_path, sleep=naps):
        await naps.had_enough.wait()
        await_end(int((tmp_path / "grandchild").read_text()))


async def test_a_process_that_ends_before_it_is_ready_ends_the_start_with_its_last_words(
    tmp_path: Path,
) -> None:
    doomed = ProcessSpec(
        "doomed",
        ["sh", "-c", "echo no such thing >&2; exit 4"],
        ready=asyncio.Event().wait,  # type: ignore[arg-type]
        explain=lambda said: "so buy one" if "no such thing" in said else None,
    )
    supervisor = Supervisor([ProcessSpec("first", SLEEPER), doomed], tmp_path)
    with pytest.raises(StartFailed, match=r"(?s)doomed .*exit code 4.*so buy one.*  no such thing"):
        await supervisor.start()
    assert [status.state for status in supervisor.status()] == ["stopped", "stopped"]


async def test_a_command_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    missing = ProcessSpec("missing", ["no-such-program"], ready=asyncio.Event().wait)  # type: ignore[arg-type]
    with pytest.raises(StartFailed, match="cannot run no-such-program: No such file"):
        await Supervisor([missing], tmp_path).start()


async def test_a_probe_that_gives_up_stops_the_process_and_the_start(tmp_path: Path) -> None:
    async def refuse() -> None:
        raise BadSetting("the colour is wrong")

    supervisor = Supervisor([ProcessSpec("p", SLEEPER, ready=refuse)], tmp_path)
    with pytest.raises(BadSetting, match="the colour is wrong"):
        await supervisor.start()
    assert supervisor.status()[0].pid is None


async def test_a_process_that_gets_ready_while_it_is_stopped_is_not_started_again(tmp_path: Path) -> None:
    stopping = asyncio.Event()

    async def ready() -> None:
        await stopping.wait()

    def changed(status: Status) -> None:
        if status.state == "stopping":
            stopping.set()
        elif status.pid:
            starting.cancel()

    supervisor = Supervisor([ProcessSpec("p", SLEEPER, ready=ready)], tmp_path, on_change=changed)
    starting = asyncio.create_task(supervisor.start())
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert supervisor.status()[0].state == "stopped"


async def test_what_processes_say_is_logged_and_shown_with_their_names(tmp_path: Path) -> None:
    terminal, watch = io.StringIO(), Watch()
    log = tmp_path / "logs" / "talker.log"
    log.parent.mkdir()
    with log.open("w") as file:
        file.truncate(LOG_LIMIT + 1)

    talker = ProcessSpec(
        "talker", ["sh", "-c", "echo $GREETING; yes | head -n 1"], env={"GREETING": "good evening"}
    )
    async with Supervisor([talker], tmp_path, terminal=terminal, on_change=watch, sleep=Naps(enough=1)):
        await watch.next("pausing")

    assert terminal.getvalue() == "   talker | good evening\n   talker | y\n"
    assert log.read_text() == "good evening\ny\n", "yes(1) complains here when SIGPIPE is left ignored"
    assert log.with_suffix(".log.1").stat().st_size == LOG_LIMIT + 1


async def test_a_supervisor_outside_the_main_thread_is_refused(tmp_path: Path) -> None:
    supervisor = Supervisor([], tmp_path)
    with pytest.raises(RuntimeError, match="main thread"):
        await asyncio.to_thread(asyncio.run, supervisor.start())


SUPERVISOR_TO_KILL = """
import asyncio, sys
from pathlib import Path
from nightshift.machine.supervise import Supervisor
from tests.nightshift.machine.test_supervise import SLEEPER, ProcessSpec, stubborn

async def main(home):
    async with Supervisor([ProcessSpec("polite", SLEEPER), stubborn(home, [])], home):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    with script(SUPERVISOR_TO_KILL, tmp_path) as supervisor:
        polite, other = (
            int((tmp_path / "run" / f"{name}.pid").read_text().split()[0]) for name in ("polite", "stubborn")
        )
        supervisor.kill()
        await_end(polite)
        assert psutil.pid_exists(other)

        a_moment = timedelta(seconds=0.1)
        assert asyncio.run(clear_leftovers(tmp_path / "another home", a_moment)) == []
        assert psutil.pid_exists(other)
        assert asyncio.run(clear_leftovers(tmp_path, a_moment)) == ["stubborn"]
        await_end(other)


def test_a_leftover_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "0.2"], start_new_session=True) as leftover:
        run = tmp_path / "run"
        run.mkdir()
        (run / "slow.pid").write_text(f"{leftover.pid} {psutil.Process(leftover.pid).create_time()}")
        begin = time.monotonic()
        assert asyncio.run(clear_leftovers(tmp_path)) == []
        assert leftover.wait() == 0
        assert time.monotonic() - begin < 5


def test_a_stranger_with_a_leftovers_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEPER, start_new_session=True) as stranger:
        run = tmp_path / "run"
        run.mkdir()
        (run / "old.pid").write_text(f"{stranger.pid} {psutil.Process(stranger.pid).create_time() - 60}")
        assert asyncio.run(clear_leftovers(tmp_path, timedelta(0))) == []
        assert stranger.poll() is None
        stranger.kill()


def test_a_second_supervisor_of_a_home_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with lock_home(tmp_path):
        refused = pytest.raises(HomeInUse, match=rf"{tmp_path} .*`kill {os.getpid()}`.*NIGHTSHIFT_HOME")
        with refused, lock_home(tmp_path):
            pass
        with lock_home(tmp_path / "another"):
            pass
    with lock_home(tmp_path):
        pass


LOCK_HOLDER = """
import subprocess, sys
from pathlib import Path
from nightshift.machine.supervise import lock_home

with lock_home(Path(sys.argv[1])):
    subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL)
    print("up", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_supervisor_is_free_even_while_its_children_live(tmp_path: Path) -> None:
    with script(LOCK_HOLDER, tmp_path) as holder:
        with pytest.raises(HomeInUse, match=str(holder.pid)), lock_home(tmp_path):
            pass
        (child,) = psutil.Process(holder.pid).children()
        holder.kill()
        holder.wait()
        with lock_home(tmp_path):
            assert child.is_running()


def test_a_home_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    refused = pytest.raises(BadSetting, match=rf"{home}/run: Not a directory.*NIGHTSHIFT_HOME")
    with refused, lock_home(home):
        pass
