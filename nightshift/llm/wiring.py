"""The parts of models in one deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nightshift.controls.freeze import Freeze
from nightshift.llm.breaker import Breaker
from nightshift.llm.calls import Calls
from nightshift.llm.endpoints import endpoint_resource, key_sources
from nightshift.llm.keypool import KeyPool
from nightshift.llm.models import Models
from nightshift.llm.settings import LlmSection
from nightshift.llm.uses import Uses
from nightshift.money.purse import Purse
from nightshift.processes.resources import Resource, Resources
from nightshift.store.ground import Ground


def llm_resources(settings: LlmSection) -> Iterable[Resource[Any]]:
    """The clients of the endpoints, each started by its first call."""
    return [endpoint_resource(name, endpoint) for name, endpoint in settings.all_endpoints.items()]


def key_pools(ground: Ground, settings: LlmSection) -> Mapping[str, KeyPool]:
    """The keys of each endpoint that asks for one."""
    sources = key_sources(settings)
    return {name: KeyPool(ground.redis, ground.keys, read, name) for name, read in sources.items()}


@dataclass(eq=False)
class LlmParts:
    """The way to ask a model; one for a loop, so that what it learns of an endpoint is kept."""

    ground: Ground
    settings: LlmSection
    resources: Resources
    purse: Purse
    freeze: Freeze

    @cached_property
    def uses(self) -> Uses:
        return Uses(self.settings)

    @cached_property
    def breaker(self) -> Breaker:
        return Breaker(self.ground.redis, self.ground.keys, clock=self.ground.clock)

    @cached_property
    def key_pools(self) -> Mapping[str, KeyPool]:
        return key_pools(self.ground, self.settings)

    def calls(self, pools: Mapping[str, KeyPool]) -> Calls:
        """What calls endpoints, with keys of these pools."""
        return Calls(self.resources, purse=self.purse, freeze=self.freeze, breaker=self.breaker, pools=pools)

    @cached_property
    def models(self) -> Models:
        return Models(self.uses, self.calls(self.key_pools))
