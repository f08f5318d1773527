from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from nightshift.base.errors import BadSetting
from nightshift.base.secret_file import SecretFile, secret_source


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("old\n")
    return path


def test_a_secret_is_read_again_when_its_file_changes(path: Path) -> None:
    secret = SecretFile(path)
    assert secret.read() == "old"
    path.write_text("new\n")
    assert secret.read() == "new"


def test_a_secret_is_read_again_when_another_file_takes_the_place(path: Path, tmp_path: Path) -> None:
    secret = SecretFile(path)
    assert secret.read() == "old"
    stat = path.stat()
    other = tmp_path / "other"
    other.write_text("new\n")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert secret.read() == "new"


def test_a_file_that_does_not_change_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SecretFile(path)
    assert secret.read() == "old"
    monkeypatch.setattr(Path, "read_text", None)
    assert secret.read() == "old"


def test_the_secret_of_before_holds_while_the_file_is_rewritten(path: Path) -> None:
    secret = SecretFile(path)
    assert secret.read() == "old"
    path.write_text("")
    assert secret.read() == "old"
    path.unlink()
    assert secret.read() == "old"
    path.write_text("new")
    assert secret.read() == "new"


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"\xff\xfe", "not text")],
)
def test_a_file_without_a_secret_is_named(path: Path, content: bytes | None, says: str) -> None:
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting, match=says) as raised:
        SecretFile(path).read()
    assert str(path) in str(raised.value)


def test_a_secret_comes_from_the_file_or_else_from_the_setting(path: Path) -> None:
    for value, file, found in (
        (None, path, "old"),
        (SecretStr("set"), None, "set"),
        (SecretStr("set"), path, "old"),
    ):
        source = secret_source(value, file)
        assert source
        assert source() == found
    assert secret_source(None, None) is None
