"""How processes of a deployment are started."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.base.errors import BadSetting

if TYPE_CHECKING:
    from nightshift.settings import Settings


def start_command(*what: str) -> list[str]:
    """How to start a process that runs Celery, from the checkout."""
    return [sys.executable, "-m", "workers.start", *what]


def environment(settings: Settings) -> dict[str, str]:
    """What makes a process in another folder read the settings that were read here."""
    env = {"NIGHTSHIFT_HOME": str(settings.home)}
    if settings.settings_file:
        env["NIGHTSHIFT_SETTINGS_FILE"] = str(settings.settings_file)
    return env


def checkout() -> Path:
    """The folder that holds the table, the tasks and the workers."""
    from nightshift.base.home import CHECKOUT

    for folder in (CHECKOUT, Path.cwd()):
        if (folder / "workers" / "start.py").exists():
            return folder
    raise BadSetting(
        f"neither {CHECKOUT} nor {Path.cwd()} holds workers/ and beat_schedule.py; run this in a checkout"
    )
