"""The parts of access in one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nightshift.access.tokens import Tokens
from nightshift.store.ground import Ground


@dataclass(eq=False)
class AccessParts:
    """Who may come in."""

    ground: Ground

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self.ground.redis, self.ground.keys)
