"""Secrets of a home: made once, whole from the first byte, and for nobody else's eyes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import SecretStr

from nightshift.base.errors import BadSetting
from nightshift.machine.credentials import flower_credentials, make_flower_credentials, make_once, read
from nightshift.settings import Settings, load_settings


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What a careless shell would let everybody do."""
    before = os.umask(0)
    yield
    os.umask(before)


def permissions(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_secret_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = make_once(tmp_path, "token", lambda: "one")
    second = make_once(tmp_path, "token", lambda: "two")
    assert (first.secret, first.new) == ("one", True)
    assert (second.secret, second.new) == ("one", False)
    assert first.path.read_text() == "one"
    assert "one" not in repr(first)


def test_nobody_else_can_read_it_at_any_time(tmp_path: Path, open_umask: None) -> None:
    def make() -> str:
        (begun,) = (tmp_path / "secrets").iterdir()
        assert permissions(begun) == 0o600
        assert begun.name != "token", "it has its name only once it is whole"
        return "one"

    made = make_once(tmp_path, "token", make)
    assert permissions(made.path) == 0o600
    assert permissions(made.path.parent) == 0o700
    assert list(made.path.parent.iterdir()) == [made.path]


def test_of_many_at_once_one_makes_it(tmp_path: Path) -> None:
    together = Barrier(8)

    def make(number: int) -> str:
        together.wait(10)
        return f"secret {number}"

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: make_once(tmp_path, "token", lambda: make(number)), range(8)))
    assert sum(each.new for each in made) == 1
    assert len({each.secret for each in made}) == 1


def test_a_file_that_others_can_read_is_refused_with_its_remedy(tmp_path: Path) -> None:
    path = make_once(tmp_path, "token", lambda: "one").path
    path.chmod(0o640)
    with pytest.raises(BadSetting, match=f"others can read {path}; `chmod 600 {path}`"):
        read(path)


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    path = make_once(tmp_path, "token", lambda: "one").path
    path.write_text("\n")
    with pytest.raises(BadSetting, match=f"{path} is empty"):
        make_once(tmp_path, "token", lambda: "two")


# Flower's


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


def test_flower_is_told_what_was_made_unless_something_is_set(settings: Settings) -> None:
    made = make_flower_credentials(settings.home)
    assert made.secret.startswith("flower:")
    assert flower_credentials(settings) == made.secret
    given = settings.model_copy(update={"flower_auth": SecretStr("ann:her own")})
    assert flower_credentials(given) == "ann:her own"


def test_credentials_made_for_two_homes_differ(tmp_path: Path) -> None:
    assert make_flower_credentials(tmp_path / "a").secret != make_flower_credentials(tmp_path / "b").secret


def test_where_credentials_are_missing_the_remedy_is_named(settings: Settings) -> None:
    with pytest.raises(
        BadSetting, match="set NIGHTSHIFT_FLOWER_AUTH to user:password, or let `nightshift up`"
    ):
        flower_credentials(settings)


@pytest.mark.parametrize(
    "given",
    [
        "hunter2",  # no user
        ":hunter2",  # an empty one
        "hunter2:",  # no password
        "ann:hunter2é",  # browsers do not agree on how to send this
        "ann:hunter2\nbob:hunter2",  # two
    ],
)
def test_what_is_no_user_and_password_is_refused_without_showing_it(settings: Settings, given: str) -> None:
    with pytest.raises(BadSetting, match="not user:password") as refused:
        flower_credentials(settings.model_copy(update={"flower_auth": SecretStr(given)}))
    assert "hunter2" not in str(refused.value)
