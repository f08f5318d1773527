"""The parts of access in one deployment."""

from __future__ import annotations

from functools import cached_property

from nightshift.access.tokens import Tokens
from nightshift.store.ground import Ground


class AccessParts:
    """Who may come in."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self._ground.redis, self._ground.keys)
