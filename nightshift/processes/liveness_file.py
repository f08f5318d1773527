"""A file whose age says whether a process still works; it needs no server, and a look at it is free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import structlog

from nightshift.base.errors import BadSetting

log = structlog.get_logger("nightshift.liveness")

#: Young enough is anything below a minute; what touches it does so at least this often.
TOUCH_EVERY = timedelta(seconds=5)


class Liveness:
    """The file, and beside it ``FILE.ready``, which is there while the process is of use to others."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ready_file = file.with_name(f"{file.name}.ready")

    def begin(self) -> None:
        """Make the file; alive, and not ready yet."""
        try:
            self.ready_file.unlink(missing_ok=True)
            with self.file.open("a"):
                self.file.touch()
        except OSError as error:
            raise BadSetting(
                f"cannot write to {self.file}: {error.strerror}; "
                "set NIGHTSHIFT_LIVENESS_FILE to a file in a folder that this user may write to"
            ) from error

    def touch(self) -> None:
        """Say that the process works."""
        try:
            self.file.touch()
        except OSError as error:  # it goes stale, which is what it is for
            log.warning("liveness_not_told", file=str(self.file), why=str(error))

    def tell_ready(self, ready: bool) -> None:
        """Say whether the process is of use."""
        try:
            if ready:
                self.ready_file.touch()
            else:
                self.ready_file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("readiness_not_told", file=str(self.ready_file), why=str(error))

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Touch it from a thread meanwhile, because whoever does so otherwise is busy ending."""
        over = Event()

        def keep() -> None:
            while not over.wait(TOUCH_EVERY.total_seconds()):
                self.touch()

        keeper = Thread(target=keep, name="liveness", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join()

    def end(self) -> None:
        """Leave nothing behind."""
        for file in (self.ready_file, self.file):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("liveness_not_removed", file=str(file), why=str(error))
