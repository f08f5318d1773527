"""Files and folders that nobody else may read."""

from __future__ import annotations

from pathlib import Path

from nightshift.base.errors import BadSetting


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can enter, or say which one cannot be had."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise BadSetting(
            f"cannot write to {path}: {error.strerror}; set NIGHTSHIFT_HOME to a folder of your own"
        ) from error
    return path
