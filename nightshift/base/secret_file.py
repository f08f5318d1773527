"""A secret in a file of its own, so that it can be replaced while everything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from nightshift.base.errors import BadSetting


class SecretFile:
    """The secret in this file, read again whenever the file changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()
        self._secret = ""

    def read(self) -> str:
        """What the file holds now, or held before it went away or was emptied: a rotation may do either."""
        try:
            stat = self.path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_ctime_ns)
            if seen != self._seen:
                if secret := self.path.read_text().strip():
                    self._secret = secret
                self._seen = seen
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            if not self._secret:
                raise BadSetting(f"{self.path} cannot be read: {why}; put the secret there") from None
        if not self._secret:
            raise BadSetting(f"{self.path} is empty; put the secret there")
        return self._secret


def secret_source(value: SecretStr | None, file: Path | None) -> Callable[[], str] | None:
    """Where to ask for a secret each time it is used, if it is set at all; a file counts before a value."""
    if file:
        return SecretFile(file.expanduser()).read
    return value.get_secret_value if value else None
