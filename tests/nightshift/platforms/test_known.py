"""Platforms as the settings describe them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.base.home import CHECKOUT
from nightshift.deployment import Deployment, process_settings
from nightshift.platforms.known import all_kinds
from nightshift.platforms.platform import Outgoing, Platform
from nightshift.platforms.settings import PlatformKind, PlatformSettings
from nightshift.platforms.wiring import new_platform
from nightshift.settings import load_settings
from nightshift.store.ground import Ground
from nightshift.store.keys import Keys
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply

SECRET = "syt_hunter2"
#: What the page says of a setting that a kind does not need.
NOTHING = "\N{EN DASH}"
#: Reads the settings; says which kinds that imported, and whatever takes long.
LOADED = """
import sys, nightshift.settings
nightshift.settings.load_settings()
kinds = {f"nightshift.platforms.{kind}" for kind in sys.argv[1:]}
slow = {"aiohttp", "yarl", "redis", "apprise"}
print(*sorted((kinds | slow) & set(sys.modules)))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_socket: Path) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_STATE_URL", f"unix://{redis_socket}?db=0")
    process_settings.cache_clear()
    yield tmp_path
    process_settings.cache_clear()


def write(home: Path, text: str) -> None:
    (home / "nightshift.toml").write_text(text)


async def test_every_kind_can_be_made(redis: Redis, keys: Keys) -> None:
    for kind in all_kinds():
        told: Any = {"kind": kind, "url": "https://example.org", "token": SECRET}
        platform = new_platform("there", PlatformSettings(**told), Ground(redis, keys))
        assert (platform.name, platform.kind) == ("there", kind)
        await platform.close()


def test_the_examples_of_the_page_about_platforms_are_read() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "platforms.md").read_text()
    examples = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.S)]
    described = [each for example in examples for each in example["platforms"].values()]
    assert {PlatformSettings.model_validate(each).kind for each in described} > {"matrix", "discord"}


def test_the_page_about_platforms_says_of_each_kind_what_its_class_says() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "platforms.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", page, re.M)
    told = {
        name: (url, token, past.split(";")[0], twice == "may be doubled")
        for name, url, token, past, twice in rows
    }
    assert told == {
        name: (
            *(next((n.words for n in kind.needs if n.setting == each), NOTHING) for each in ("url", "token")),
            "yes" if kind.has_history else "no",
            not kind.repeatable_for,
        )
        for name, kind in all_kinds().items()
    }


def test_a_kind_has_a_past_to_read_if_and_only_if_its_class_reads_one() -> None:
    for name, kind in all_kinds().items():
        assert kind.has_history is (kind.history is not Platform.history), name


def test_settings_import_the_kinds_that_they_name_and_none_of_what_they_talk_through(home: Path) -> None:
    tables = "\n".join(
        f'[platforms.{kind}]\nkind = "{kind}"\ntoken = "t"\nurl = "https://example.org"'
        for kind in ("matrix", "discord", "slack", "apprise")
    )
    write(home, tables)
    load = [sys.executable, "-c", LOADED, *all_kinds()]
    found = subprocess.run(load, capture_output=True, text=True, check=False)
    named = [f"nightshift.platforms.{kind}" for kind in ("apprise", "discord", "matrix", "slack")]
    assert found.stdout.split() == named, found.stderr


async def test_file_and_environment_together_describe_a_platform(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, '[platforms.house]\nkind = "matrix"\nurl = "https://example.org"')
    monkeypatch.setenv("NIGHTSHIFT_PLATFORMS__HOUSE__TOKEN", SECRET)
    async with Deployment(load_settings()) as here:
        platforms = here.platforms.by_name
        assert {name: each.kind for name, each in platforms.items()} == {"local": "local", "house": "matrix"}
        assert here.platforms.by_name is platforms


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ('kind = "matrix"\ntoken = "syt_hunter2"', "matrix needs url"),
        ('kind = "discord"', "discord needs token or token_file"),
        ('kind = "webhook"\nurl = "https://example.org/syt_hunter2"', "webhook needs token"),
        ('kind = "slack"\ntoken = "syt_hunter2"\ntoken_file = "f"', "leave one out"),
        ('kind = "slak"\ntoken = "syt_hunter2"', "'platforms.there.kind'"),
        (
            'kind = "slak"\ntoken = "syt_hunter2"',
            "'slak' is none of apprise, discord, local, matrix, slack, ",
        ),
        # What kinds stand on is beside them in the folder, and none of them.
        ('kind = "endpoint"\ntoken = "syt_hunter2"', "'endpoint' is none of apprise"),
        ('kind = "wiring"\ntoken = "syt_hunter2"', "'wiring' is none of apprise"),
        ('kind = ".local"\ntoken = "syt_hunter2"', "'.local' is none of apprise"),
        ('kind = "local"\nurl = "ftp://syt_hunter2"', "'platforms.there.url'"),
        ('kind = "local"\ntokn = "syt_hunter2"', "did you mean 'token'"),
        ('token = "syt_hunter2"', "'platforms.there.kind': Field required"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_is_shown(home: Path, described: str, says: str) -> None:
    write(home, f"[platforms.there]\n{described}")
    with pytest.raises(BadSetting) as raised:
        load_settings()
    assert says in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("name", ["Discord", "a.b", "1st", "x" * 33])
def test_a_name_that_no_channel_could_bear_is_refused(home: Path, name: str) -> None:
    write(home, f'[platforms."{name}"]\nkind = "local"')
    with pytest.raises(BadSetting, match="platforms"):
        load_settings()


async def test_a_token_is_replaced_while_everything_runs(
    home: Path, other_side: OtherSide, redis: Redis, keys: Keys
) -> None:
    other_side.answer("PUT", "*", Reply(shapes.MATRIX_SENT))
    file = home / "token"
    told = PlatformSettings(kind="matrix", url=other_side.url, token_file=file)
    platform = new_platform("there", told, Ground(redis, keys))
    for token in ("old", "new"):
        file.write_text(token)
        await platform.send(Outgoing("!room", "Hello", key=token))
    await platform.close()
    assert [each.headers["Authorization"] for each in other_side.asked if each.method == "PUT"] == [
        "Bearer old",
        "Bearer new",
    ]


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("matrix", Reply(shapes.MATRIX_UNKNOWN_TOKEN, 401), "401: Invalid access token passed"),
        ("discord", Reply(shapes.DISCORD_UNAUTHORIZED, 401), "401: 401: Unauthorized"),
        ("slack", Reply({"ok": False, "error": "invalid_auth"}), "'invalid_auth'"),
        ("telegram", Reply(shapes.TELEGRAM_UNAUTHORIZED, 401), "401: Unauthorized"),
        ("webhook", Reply(b"", 401), "401"),
    ],
)
async def test_where_a_token_is_that_is_refused_is_told(
    home: Path, other_side: OtherSide, redis: Redis, keys: Keys, kind: PlatformKind, answer: Reply, told: str
) -> None:
    for method in ("GET", "HEAD"):
        other_side.answer(method, "*", answer)
    file = home / "token"
    file.write_text("whsec_c2VjcmV0LW9mLXRoZXNlLXRlc3Rz")
    settings = PlatformSettings(kind=kind, url=other_side.url, token_file=file)
    platform = new_platform("there", settings, Ground(redis, keys))
    readiness = await platform.ready()
    await platform.close()
    where = f"[platforms.there] (token_file: {file})"
    assert readiness.why == f"there answered {told}; check the token in {where}"


@pytest.mark.parametrize("content", ["two\nlines", "tök", "a\x1bb"])
async def test_a_token_that_no_header_can_hold_is_told_and_not_shown(
    home: Path, redis: Redis, keys: Keys, content: str
) -> None:
    (home / "token").write_text(content)
    told = PlatformSettings(kind="discord", token_file=home / "token")
    readiness = await new_platform("there", told, Ground(redis, keys)).ready()
    assert not readiness.ready
    assert f"[platforms.there] (token_file: {home / 'token'}) is not one line of plain ASCII" in readiness.why
    assert content not in readiness.why
