"""
What the simulated model was asked and what it charged, so that others can check their own books.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from nightshift.llm.prices import OTHER_SIMULATED, SIMULATED

MICRO_USD = 1_000_000


@dataclass(frozen=True)
class SimulatedUsage:
    """What one answer took."""

    model: str
    prompt_tokens: int
    completion_tokens: int = 0

    @property
    def cost_micro_usd(self) -> int:
        """What it is charged."""
        return SIMULATED.get(self.model, OTHER_SIMULATED).cost(self.prompt_tokens, self.completion_tokens)

    def as_json(self) -> dict[str, Any]:
        """Give what the answer itself says of it, with OpenRouter's ``cost`` in dollars."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "cost": self.cost_micro_usd / MICRO_USD,
        }


@dataclass
class Row:
    """
    The calls to one path for one model.

    Each call is counted when it arrives and ends as one outcome: ``answered``, the HTTP status or
    fault it got, or ``client left``. What was answered is charged, also when a fault then spoilt it.
    """

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int = 0

    def charge(self, usage: SimulatedUsage) -> None:
        """Add what one answer took."""
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cost_micro_usd += usage.cost_micro_usd

    def add(self, other: Row) -> None:
        """Add another row to this one."""
        self.calls += other.calls
        self.outcomes += other.outcomes
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cost_micro_usd += other.cost_micro_usd


class CallLedger:
    """One row per model and path; the model is empty where a request named none."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def row(self, model: str, path: str) -> Row:
        """Find the row to count in."""
        return self.rows.setdefault((model, path), Row())

    @property
    def total(self) -> Row:
        """Everything together."""
        total = Row()
        for row in self.rows.values():
            total.add(row)
        return total

    def as_json(self) -> dict[str, Any]:
        """Give all rows and their total."""
        return {
            "simulated": True,
            "rows": [
                {"model": model, "path": path} | vars(row) for (model, path), row in sorted(self.rows.items())
            ],
            "total": vars(self.total),
        }
