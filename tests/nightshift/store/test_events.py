from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.base.instants import from_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.store.client import store_now
from nightshift.store.events import follow_events, publish_event
from nightshift.store.keys import Keys


async def test_what_happens_to_runs_and_around_them_comes_in_one_stream(
    redis: Redis, keys: Keys, ledger: Ledger
) -> None:
    began = await store_now(redis)
    request = RunRequest(run_id("news", began), "news", began, "t", "io")
    await ledger.record(request)
    await publish_event(
        redis,
        keys,
        "beat_leads",
        "beat@here",
        preview="after a takeover",
        duration=timedelta(seconds=1.5),
        facts={"lease": "10 s"},
    )
    told = []
    async with asyncio.timeout(5):
        async for event in follow_events(redis, keys, since=began):
            told.append(event)
            if len(told) == 2:
                break
    assert (told[0].type, told[0].facts["run"]) == ("run_recorded", request.id)
    assert told[1].type == "beat_leads"
    assert told[1].facts == {
        "source": "beat@here",
        "status": "ok",
        "preview": "after a takeover",
        "duration_ms": "1500",
        "lease": "10 s",
    }


async def test_what_happened_in_the_very_millisecond_asked_for_is_told(redis: Redis, keys: Keys) -> None:
    await publish_event(redis, keys, "beat_leads", "beat@here")
    entries: Any = await redis.xrange(keys.events)
    at = from_ms(entries[0][0].partition("-")[0])
    async with asyncio.timeout(5):
        first = await anext(follow_events(redis, keys, since=at))
    assert first.at == at
