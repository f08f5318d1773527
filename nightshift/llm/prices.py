"""
What a model charges for its tokens, in whole micro-USD rounded up.

A dollar for a million tokens is a micro-USD for one, so prices are said the way people say them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice  # 0.3 s, for whoever needs a price from the list

    from nightshift.llm.settings import (
        EndpointKind,
    )  # which a bot's tests, where the simulator asks prices, lack

#: How the list of prices calls those who run models.
PROVIDERS = {"openrouter": "openrouter", "gemini": "google", "openai": "openai"}
#: Whoever runs these pays for the machine and not for tokens.
OWN_MACHINES = ("ollama", "vllm")


class Price(Protocol):
    """What so many tokens cost."""

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> int: ...


@dataclass(frozen=True)
class FlatPrice:
    """One price for every token: in USD for a million of them."""

    tokens_in: Decimal
    tokens_out: Decimal

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> int:
        """Cached tokens are taken for fresh ones."""
        return _whole(tokens_in * self.tokens_in + tokens_out * self.tokens_out)


@dataclass(frozen=True)
class ListedPrice:
    """As the list of prices knows it, with its steps and its discount for what is cached."""

    listed: ModelPrice

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> int:
        from genai_prices import Usage

        usage = Usage(
            input_tokens=tokens_in, output_tokens=tokens_out, cache_read_tokens=min(tokens_cached, tokens_in)
        )
        return _whole(self.listed.calc_price(usage)["total_price"] * 1_000_000)


FREE = FlatPrice(Decimal(0), Decimal(0))
#: What is reserved for a model whose price nobody knows: more than all but the dearest ask.
UNKNOWN = FlatPrice(Decimal(15), Decimal(60))
#: The models that the simulated one offers. It answers any other name too, at the price of the others.
SIMULATED = {
    "flash-simulated": FlatPrice(Decimal(1), Decimal(3)),
    "pro-simulated": FlatPrice(Decimal(5), Decimal(15)),
    "embedding-simulated": FlatPrice(Decimal(1), Decimal(0)),
}
OTHER_SIMULATED = FlatPrice(Decimal(2), Decimal(6))


def listed_price(name: str, kind: EndpointKind, at: datetime) -> Price | None:
    """What the list of prices says of this model at such an endpoint then; nothing if it does not know it."""
    if kind in OWN_MACHINES:
        return FREE
    if "simulated" in name:
        return _simulated_price(name)
    listed = _listed_model(name, kind)
    return ListedPrice(listed.get_prices(at)) if listed else None


@cache
def _listed_model(name: str, kind: EndpointKind) -> ModelInfo | None:
    from genai_prices import Usage, calc_price

    try:
        return calc_price(Usage(input_tokens=1, output_tokens=1), name, provider_id=PROVIDERS.get(kind)).model
    except LookupError:
        return None


def _simulated_price(name: str) -> Price:
    return SIMULATED.get(name.partition("?")[0], OTHER_SIMULATED)


def is_dearer(one: Price | None, other: Price | None) -> bool:
    """Whether the one may cost more than the other, for tokens in or out; an unknown price may."""
    if one is None:
        return True
    if other is None:
        return False
    many = 1_000_000
    return one.cost(many, 0) > other.cost(many, 0) or one.cost(0, many) > other.cost(0, many)


def _whole(micro_usd: Decimal) -> int:
    return int(micro_usd.to_integral_value(ROUND_CEILING))
