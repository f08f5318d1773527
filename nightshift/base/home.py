"""Where a deployment lives on this machine: its own home, or the demo's until somebody has set it up."""

from __future__ import annotations

import os
from pathlib import Path

import nightshift

CHECKOUT = Path(nightshift.__file__).parent.parent
SETTINGS_FILE = "nightshift.toml"
PREFIX = "NIGHTSHIFT_"


#: What says that somebody has set nightshift up, besides a settings file.
SET_UP = ("SETTINGS_FILE", "STATE_URL", "MODEL", "MODEL__URL", "ENDPOINTS", "MODELS")


def own_home() -> Path:
    """A folder inside the checkout, or one in the user's home when there is no checkout."""
    if (CHECKOUT / "beat_schedule.py").exists():
        return CHECKOUT / ".nightshift"
    return Path.home() / ".nightshift"


def demo_home() -> Path:
    """Where everything lives until nightshift is set up: what is simulated never mixes with what is real."""
    return own_home().with_name(".nightshift-demo")


def default_home() -> Path:
    """Our own home once somebody has set nightshift up, by a file or in the environment; else the demo's."""
    files = own_home() / SETTINGS_FILE, Path(SETTINGS_FILE)
    set_up = any(PREFIX + name in os.environ for name in SET_UP) or any(file.exists() for file in files)
    return own_home() if set_up else demo_home()


def simulated_model(home: Path) -> Path:
    """The file in which `nightshift up` says where the model is that it simulates, as long as it does."""
    return home / "run" / "simulated-model"
