"""
Which model does which work, and which others stand in for it, as the settings say.

A use that is not set is done by ``flash``, and ``flash`` by the model of ``[model]``; only ``embed`` falls to
the lexical embedder instead. Nothing falls to a model that may cost more, unless the settings allow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args
from urllib.parse import urlsplit

from nightshift.base.errors import BadSetting
from nightshift.llm.prices import FlatPrice, Price, is_dearer, listed_price
from nightshift.llm.settings import MAIN, EndpointKind, EndpointSettings, LlmSection, Use, UseSettings

#: Whose URL tells what they are.
HOSTS: dict[str, EndpointKind] = {
    "openrouter.ai": "openrouter",
    "generativelanguage.googleapis.com": "gemini",
    "api.openai.com": "openai",
}
OLLAMA_PORT = 11434


@dataclass(frozen=True)
class NamedModel:
    """One model at one endpoint."""

    name: str
    endpoint: str
    kind: EndpointKind = "auto"
    #: Where the settings say it.
    own_price: Price | None = None

    @property
    def price(self) -> Price | None:
        """What its tokens cost now, if anybody knows."""
        return self.price_at(datetime.now(UTC))

    def price_at(self, at: datetime) -> Price | None:
        """What its tokens cost at another time: some cost less by night."""
        return self.own_price or listed_price(self.name, self.kind, at)

    def may_cost_more_than(self, other: NamedModel) -> bool:
        """Whether there is a time of the day at which its tokens cost more, in or out, or nobody knows."""
        day = datetime.now(UTC).replace(hour=0, minute=0)
        times = (day + timedelta(minutes=minutes) for minutes in range(0, 24 * 60, 30))
        return any(is_dearer(self.price_at(at), other.price_at(at)) for at in times)

    def __str__(self) -> str:
        return f"{self.name} at endpoint {self.endpoint}"


@dataclass(frozen=True)
class Chain:
    """The models of one use in the order in which they are asked, and the limits of an answer."""

    use: Use
    models: tuple[NamedModel, ...]
    max_output_tokens: int
    deadline: timedelta


#: How many tokens an answer may have, and how many seconds, where the settings say nothing.
LIMITS: dict[Use, tuple[int, float]] = {
    "flash": (1024, 30),
    "chat": (4096, 120),
    "extract": (8192, 180),
    "judge": (4096, 120),
    "embed": (0, 60),
}


class Uses:
    """Every use with its chain of models."""

    def __init__(self, settings: LlmSection) -> None:
        """Raises BadSetting for what contradicts itself, or would silently cost more."""
        if settings.model.url and MAIN in settings.endpoints:
            raise BadSetting(
                f"both [model] and [endpoints.{MAIN}] give a URL; leave one of them out, or rename the second"
            )
        self.endpoints = settings.all_endpoints
        self._settings = settings
        self._chains = {use: self._read_chain(use) for use in get_args(Use)}

    def chain(self, use: Use) -> Chain:
        """The models to ask in turn; none for ``embed`` if it is left to the lexical embedder."""
        if use not in self._chains:
            raise BadSetting(f"use {use!r} is not known; known ones: {', '.join(self._chains)}")
        chain = self._chains[use]
        if not chain.models and use != "embed":
            raise BadSetting("no model is set; set NIGHTSHIFT_MODEL__URL")
        return chain

    def _read_chain(self, use: Use) -> Chain:
        told = self._told(use)
        most, seconds = LIMITS[use]
        if told is None:
            return Chain(use, (), most, timedelta(seconds=seconds))
        first = self._first_model(use, told)
        others = [self._read_fallback(use, fallback) for fallback in told.fallbacks]
        for other in others:
            if not told.allow_dearer and other.may_cost_more_than(first):
                raise BadSetting(
                    f"models.{use}: {other} may cost more than {first} that it stands in for"
                    f"{'' if other.price else ', since nobody knows its price'}; "
                    "name a cheaper one, say its price_in and price_out, or set allow_dearer = true"
                )
        # What [models.flash] says of limits is not meant for the uses that fall to it.
        own = self._settings.models.get(use)
        most = own.max_output_tokens or most if own else most
        seconds = own.deadline or seconds if own else seconds
        return Chain(use, (first, *others), most, timedelta(seconds=seconds))

    def _told(self, use: Use) -> UseSettings | None:
        """What the settings say of this use, or of the one that it falls to."""
        models = self._settings.models
        if use in models or use == "embed":
            return models.get(use)
        if "flash" in models:
            return models["flash"]
        return UseSettings(name=self._settings.model.name) if self._settings.model.url else None

    def _first_model(self, use: Use, told: UseSettings) -> NamedModel:
        price = None
        if told.price_in is not None and (told.price_out is not None or use == "embed"):
            price_out = told.price_in if told.price_out is None else told.price_out
            price = FlatPrice(told.price_in, price_out)
        elif told.price_in is not None or told.price_out is not None:
            raise BadSetting(f"models.{use} needs both price_in and price_out, or neither")
        return self._at(told.endpoint, told.name, f"models.{use}.endpoint", price)

    def _read_fallback(self, use: Use, fallback: str) -> NamedModel:
        for other in get_args(Use):
            if fallback != other:
                continue
            told = self._told(other)
            if told is None or (use == "embed") != (other == "embed"):
                raise BadSetting(f"models.{use}.fallbacks: no model of the same sort is set for {other!r}")
            return self._first_model(other, told)
        endpoint, _, name = fallback.partition("/")
        if not name:
            raise BadSetting(
                f"models.{use}.fallbacks: {fallback!r} is neither a use ({', '.join(get_args(Use))}) "
                "nor ENDPOINT/MODEL"
            )
        return self._at(endpoint, name, f"models.{use}.fallbacks", None)

    def _at(self, endpoint: str, name: str, setting: str, price: Price | None) -> NamedModel:
        if endpoint not in self.endpoints:
            known = ", ".join(self.endpoints) or "none"
            raise BadSetting(f"{setting}: endpoint {endpoint!r} is not set; those set: {known}")
        return NamedModel(name, endpoint, kind_of(self.endpoints[endpoint]), price)


def kind_of(endpoint: EndpointSettings) -> EndpointKind:
    """What the endpoint is: as the settings say, or told from its URL."""
    if endpoint.kind != "auto":
        return endpoint.kind
    url = urlsplit(endpoint.url)
    return "ollama" if url.port == OLLAMA_PORT else HOSTS.get(url.hostname or "", "auto")
