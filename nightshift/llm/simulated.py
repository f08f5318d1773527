"""An old name of the simulated model, kept until 0.2: import from ``nightshift.simulator``."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # Found by its name when somebody asks: nothing down here stands on what is up there.
    found = getattr(import_module("nightshift.simulator"), name)
    warnings.warn(
        f"nightshift.llm.simulated goes with 0.2; import {name} from nightshift.simulator",
        DeprecationWarning,
        stacklevel=2,
    )
    return found
