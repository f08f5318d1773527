"""An old name of the simulated model, kept until 0.2: import from ``nightshift.simulator``."""

from __future__ import annotations

import warnings

from nightshift.demo.model import (
    Fault,
    FaultRule,
    Row,
    SimulatedModel,
    SimulatedModelOptions,
    serve,
    simulated_model,
)

__all__ = [
    "Fault",
    "FaultRule",
    "Row",
    "SimulatedModel",
    "SimulatedModelOptions",
    "serve",
    "simulated_model",
]

warnings.warn(
    "nightshift.llm.simulated goes with 0.2; import from nightshift.simulator",
    DeprecationWarning,
    stacklevel=2,
)
