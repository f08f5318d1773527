"""What every feature's parts are made from: one store, reached from one event loop, and the names in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from redis.asyncio import Redis

from nightshift.store.keys import Keys


@dataclass(frozen=True)
class Patience:
    """How long a face waits for a store that is away before it says so."""

    #: Times that a command is tried again, with pauses of up to a second in between.
    retries: int = 12
    timeout: timedelta = timedelta(seconds=5)


#: Of what carries work out: a restarted server is back by then.
PATIENT = Patience()
#: Of whoever is asked by a person: told at once that a store is away, rather than when it is back.
QUICK = Patience(retries=1)


@dataclass(frozen=True)
class Ground:
    """The state store of one deployment."""

    redis: Redis
    keys: Keys
    #: Makes a client of FalkorDB, if there is one.
    new_graphs: Callable[[], Redis] | None = None
    #: Replaces the store's clock in tests.
    clock: Callable[[], datetime] | None = None
    #: Whatever has to be closed is said here when it is made; what was made last is closed first.
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def has_graph(self) -> bool:
        """Whether there is a FalkorDB; whoever asks this needs none."""
        return self.new_graphs is not None

    @cached_property
    def graphs(self) -> Redis | None:
        """FalkorDB, if there is one."""
        return self.new_graphs() if self.new_graphs else None
