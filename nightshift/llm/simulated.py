"""An old name of the simulated model, kept until 0.2."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

#: Found by its name when somebody asks: nothing down here stands on what is up there.
NEW = "nightshift.simulator"


def __getattr__(name: str) -> Any:
    found = getattr(import_module(NEW), name)
    warnings.warn(
        f"nightshift.llm.simulated goes with 0.2; import {name} from {NEW}", DeprecationWarning, stacklevel=2
    )
    return found
