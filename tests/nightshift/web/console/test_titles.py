from __future__ import annotations

import pytest
from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef
from nightshift.channels.channels import Channels
from nightshift.store.keys import Keys
from nightshift.web.console.titles import name_sources

GARDEN = ChannelRef("matrix", "!a:b")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (f"heartbeat:{GARDEN}", "heartbeat Garden"),
        (f"work:owl:{GARDEN}", "work Garden"),
        ("heartbeat:matrix:unknown", "heartbeat:matrix:unknown"),
        ("job:graph_census", "graph_census"),
        ("embedding", "embedding"),
        ("heartbeat:No Platform:x", "heartbeat:No Platform:x"),
    ],
)
async def test_a_source_is_called_by_its_channels_name(
    redis: Redis, keys: Keys, source: str, name: str
) -> None:
    channels = Channels(redis, keys)
    await channels.record_metadata(GARDEN, name="Garden")
    assert (await name_sources(channels, [source]))(source) == name
