"""The file whose age says whether a process works."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from nightshift.base.errors import BadSetting
from nightshift.deployment import liveness
from nightshift.processes import liveness_file
from nightshift.processes.liveness_file import Liveness
from nightshift.settings import load_settings


def age(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def make_old(file: Path) -> None:
    os.utime(file, (0, 0))


def test_it_is_there_from_the_beginning_grows_old_unless_touched_and_is_gone_at_the_end(
    tmp_path: Path,
) -> None:
    alive = Liveness(tmp_path / "worker.alive")
    alive.begin()
    alive.tell_ready(True)
    make_old(alive.file)
    alive.touch()
    assert age(alive.file) < 60
    assert {file.name for file in tmp_path.iterdir()} == {"worker.alive", "worker.alive.ready"}
    alive.end()
    alive.end()
    assert list(tmp_path.iterdir()) == []


def test_one_left_behind_by_a_killed_process_is_alive_again_but_not_ready(tmp_path: Path) -> None:
    alive = Liveness(tmp_path / "worker.alive")
    alive.file.touch()
    make_old(alive.file)
    alive.ready_file.touch()
    alive.begin()
    assert age(alive.file) < 60
    assert not alive.ready_file.exists()


@pytest.mark.parametrize("name", ["no-folder/worker.alive", "no-folder", "a-file/worker.alive"])
def test_a_file_that_cannot_be_written_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "a-file").touch()
    file = tmp_path / name
    if name == "no-folder":
        file.mkdir()
    with pytest.raises(BadSetting, match=f"cannot write to {file}: .*NIGHTSHIFT_LIVENESS_FILE"):
        Liveness(file).begin()


def test_a_file_that_cannot_be_written_any_more_goes_stale_and_raises_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    alive = Liveness(folder / "worker.alive")
    alive.begin()
    alive.end()
    folder.rmdir()
    alive.touch()
    alive.tell_ready(True)
    alive.tell_ready(False)
    alive.end()
    assert not alive.file.exists()


def test_it_can_be_kept_fresh_while_its_process_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness_file, "TOUCH_EVERY", liveness_file.TOUCH_EVERY / 1000)
    alive = Liveness(tmp_path / "worker.alive")
    alive.begin()
    with alive.kept_fresh():
        make_old(alive.file)
        until = time.monotonic() + 5
        while age(alive.file) > 60:
            assert time.monotonic() < until, "nobody touched it"
    assert "liveness" not in {thread.name for thread in threading.enumerate()}
    make_old(alive.file)
    assert age(alive.file) > 60


def test_it_lies_in_a_private_folder_of_the_home_unless_set(tmp_path: Path) -> None:
    given = load_settings(home=tmp_path / "home")
    file = liveness(given, "all@here/there").file
    assert file == tmp_path / "home" / "run" / "all@here_there.alive"
    assert file.parent.stat().st_mode & 0o777 == 0o700

    given = load_settings(home=tmp_path / "home", liveness_file=tmp_path / "alive")
    assert liveness(given, "all@here").file == tmp_path / "alive"
