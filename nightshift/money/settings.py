"""What may be spent, as the settings say it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nightshift.money.payer import Level


def lifted(value: Any) -> Any:
    return None if value == "none" else value


Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000_000)]


GivenCap = Annotated[Dollars | None, BeforeValidator(lifted)]


class BudgetSettings(BaseModel):
    """
    What may be spent on models, in US dollars: by one run in all, by everything else on one day (UTC).

    Each run, source and so on may spend that much, those named in ``only`` what is said there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: GivenCap = Decimal(1)
    tenant: GivenCap = None
    agent: GivenCap = None
    channel: GivenCap = None
    job: GivenCap = None
    source: GivenCap = None
    model: GivenCap = None
    run: GivenCap = None
    only: dict[Level, dict[str, Dollars]] = Field(default_factory=dict)


class MoneySection(BaseModel):
    """The budget."""

    budget: BudgetSettings = Field(default_factory=BudgetSettings, description="caps on what models cost")
