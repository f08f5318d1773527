"""
The simulated model, by the name that tests of bots and of jobs import it under.

It keeps this name wherever the simulator itself may stand, and needs no more installed than a bot does.
``docs/how-to/simulate-a-model.md`` shows how to use it.
"""

from __future__ import annotations

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
