"""A channel in which somebody spoke, and that is visited."""

from __future__ import annotations

from datetime import datetime

import pytest
from redis.asyncio import Redis

from nightshift.store.keys import Keys
from tests.nightshift.heartbeats.scene import Scene


@pytest.fixture
async def scene(redis: Redis, keys: Keys, now: datetime) -> Scene:
    scene = Scene(redis, keys, now)
    await scene.say()
    await scene.adopt()
    return scene
