"""A kind of chat platform is one file: whoever needs to know of it finds it there."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nightshift import platforms
from nightshift.base.errors import BadSetting
from nightshift.base.refs import ChannelRef
from nightshift.cli import init
from nightshift.cli.app import app
from nightshift.deployment import Deployment
from nightshift.intake.connections import Holder
from nightshift.platforms.known import all_kinds
from nightshift.runs.carry import Run, carry_out
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome
from nightshift.settings import load_settings

KIND = """
from datetime import UTC, datetime, timedelta

from nightshift.platforms.platform import Need, PastMessage, Platform, Readiness, Sent
from nightshift.platforms.platform import PlatformChannel, Server


class PigeonPlatform(Platform):
    kind = "pigeon"
    needs = (Need("url", "the loft"), Need("token", "the ring on its leg"))
    has_history = True
    servers_hold_channels = True

    def __init__(self, told):
        self.name, self.loft, self.ring = told.name, told.url, told.token

    @classmethod
    def made(cls, told):
        return cls(told)

    async def ready(self):
        return Readiness(True, user_id=self.ring())

    async def send(self, out):
        return Sent(out.key, datetime.now(UTC))

    async def history(self, channel_id, *, limit):
        before = datetime.now(UTC) - timedelta(hours=1)
        return [PastMessage("1", "ann", "Ann", f"coo from {self.loft}", before)]

    async def servers_and_channels(self):
        return [Server("loft", "Loft", 2, (PlatformChannel("roof", "Roof"),)), Server("empty", "Empty")]

    async def close(self):
        pass
"""
LOFT = "https://loft.example"
TABLE = f'[platforms.birds]\nkind = "pigeon"\nurl = "{LOFT}"\ntoken = "ring"\n'


@pytest.fixture(autouse=True)
def _pigeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another file beside those that there are."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "pigeon.py").write_text(KIND)
    monkeypatch.setattr(platforms, "__path__", [*platforms.__path__, str(folder)])
    yield
    sys.modules.pop("nightshift.platforms.pigeon", None)
    vars(platforms).pop("pigeon", None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_socket: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    for store in ("STATE", "BROKER", "GRAPH"):
        monkeypatch.setenv(f"NIGHTSHIFT_{store}_URL", f"unix://{redis_socket}?db=0")
    monkeypatch.setenv("NIGHTSHIFT_KEY_ROOT", "test-kinds")
    return tmp_path / "home"


@pytest.fixture
def described(home: Path) -> Path:
    """Settings that name the new kind."""
    home.mkdir()
    file = home / "nightshift.toml"
    file.write_text(TABLE)
    return file


@pytest.fixture
async def here(described: Path) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(Deployment(load_settings()))
        yield here
        async for key in here.state.scan_iter(f"{here.keys.prefix}*"):
            await here.state.delete(key)


def nightshift(*words: str, answers: str = "") -> Result:
    return CliRunner().invoke(app, words, input=answers, prog_name="nightshift")


def test_it_is_found_by_its_name() -> None:
    assert all_kinds()["pigeon"].__name__ == "PigeonPlatform"


async def test_it_is_made_as_the_settings_describe_it(here: Deployment) -> None:
    pigeon = here.platforms.by_name["birds"]
    assert (pigeon.name, pigeon.kind, pigeon.repeatable) == ("birds", "pigeon", False)
    assert (await pigeon.ready()).user_id == "ring"


@pytest.mark.parametrize(
    ("left_out", "says"), [("url", "pigeon needs url"), ("token", "pigeon needs token or token_file")]
)
def test_what_it_needs_and_is_not_told_is_named(described: Path, left_out: str, says: str) -> None:
    described.write_text("\n".join(line for line in TABLE.splitlines() if not line.startswith(left_out)))
    with pytest.raises(BadSetting, match=f"'platforms.birds': {says}"):
        load_settings()


async def test_its_past_is_read(here: Deployment) -> None:
    ledger, backfill = here.runs.ledger, here.intake.backfill
    job = run_id("job:startup_channel_backfill", at := await here.runs.ledger.now())
    await ledger.record(RunRequest(job, "job:startup_channel_backfill", at, "t", "io"))

    async def look(run: Run) -> Outcome:
        return await backfill.look(run, Holder("io@here", "1"))

    await carry_out(ledger, job, look, worker="io@here", message="m")
    assert (await ledger.get(job)).result["channels"]["birds"] == 1, "a server without channels is none"
    for row in await ledger.open_runs():
        await carry_out(ledger, row.id, backfill.read_channel, worker="io@here", message="m")
    [told] = await here.memory.messages.last(ChannelRef("birds", "roof"), 10)
    assert told.text == f"coo from {LOFT}"


def test_it_is_offered_where_nightshift_is_set_up(home: Path) -> None:
    assert "pigeon" in nightshift("init", "--help").output
    assert "none of discord, matrix, pigeon, slack, " in nightshift("init", "--platform", "irc").output


def test_it_is_asked_for_what_it_needs_in_its_own_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "_is_asked", lambda: True)
    result = nightshift("init", answers="\n".join(["", "pigeon", LOFT, "ring", "", "UTC", "", ""]) + "\n")
    assert result.exit_code == 0, result.output
    assert "Its address (the loft)" in result.output
    assert "Its token (the ring on its leg)" in result.output
    pigeon = load_settings().platforms["pigeon"]
    assert pigeon.url == LOFT
    assert pigeon.token_file
    assert pigeon.token_file.read_text() == "ring"
