"""A purse on a real store, with caps as a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis

from nightshift.money.caps import Caps
from nightshift.money.purse import Purse
from nightshift.money.settings import BudgetSettings
from nightshift.store.keys import Keys
from tests.nightshift.runs.model import Clock


class NewPurse(Protocol):
    """A purse under these settings; no cap but those said."""

    def __call__(self, **settings: Any) -> Purse: ...


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def new_caps(redis: Redis, keys: Keys) -> Callable[..., Caps]:
    def made(**settings: Any) -> Caps:
        return Caps(redis, keys, BudgetSettings(**({"day": None} | settings)))

    return made


@pytest.fixture
def new_purse(redis: Redis, keys: Keys, clock: Clock, new_caps: Callable[..., Caps]) -> NewPurse:
    def made(**settings: Any) -> Purse:
        return Purse(redis, keys, new_caps(**settings), clock=clock)

    return made
