"""
A stand-in for a language model: an OpenAI-compatible server that costs nothing and fails on request.

Everything it says is marked as simulated, and the same question gets the same answer.
``docs/how-to/simulate-a-model.md`` shows how to use it.
"""

from nightshift.demo.model.faults import Fault, FaultRule
from nightshift.demo.model.ledger import Row
from nightshift.demo.model.server import SimulatedModel, SimulatedModelOptions, serve, simulated_model

__all__ = [
    "Fault",
    "FaultRule",
    "Row",
    "SimulatedModel",
    "SimulatedModelOptions",
    "serve",
    "simulated_model",
]
