from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from nightshift.base.instants import from_ms
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.store import events
from nightshift.store.client import store_now
from nightshift.store.events import EventNotListed, follow_events, publish_event, read_events
from nightshift.store.keys import Keys
from tests.conftest import tell_made_up


async def test_what_happens_to_runs_and_around_them_comes_in_one_stream(
    redis: Redis, keys: Keys, ledger: Ledger
) -> None:
    began = await store_now(redis)
    request = RunRequest(run_id("news", began), "news", began, "t", "io")
    await ledger.record(request)
    whose = {"by": "ann", "tenant": "default", "agent": "fern"}
    await publish_event(redis, keys, "channel_changed", "channel:local:garden", preview="agent", facts=whose)
    told = []
    async with asyncio.timeout(5):
        async for event in follow_events(redis, keys, since=began):
            told.append(event)
            if len(told) == 2:
                break
    assert (told[0].type, told[0].facts["run"]) == ("run_recorded", request.id)
    assert told[1].type == "channel_changed"
    assert told[1].facts == {
        "source": "channel:local:garden",
        "status": "ok",
        "preview": "agent",
        "by": "ann",
        "tenant": "default",
        "agent": "fern",
    }


async def test_what_happened_in_the_very_millisecond_asked_for_is_told(redis: Redis, keys: Keys) -> None:
    await publish_event(redis, keys, "beat_leads", "beat@here")
    entries: Any = await redis.xrange(keys.events)
    at = from_ms(entries[0][0].partition("-")[0])
    async with asyncio.timeout(5):
        first = await anext(follow_events(redis, keys, since=at))
    assert first.at == at


NOT_LISTED = [
    ("beat_yawned", {}, "no such event is listed"),
    ("beat_leads", {"mood": "good"}, "it may not tell mood"),
    ("beat_leads", {"type": "beat"}, "it may not tell type"),
    ("job_paused", {}, "it has to tell by"),
    ("job_paused", {"by": ""}, "it has to tell by"),  # nobody who reads it sees an empty field
    ("job_paused", {"mood": "good"}, "it may not tell mood; it has to tell by"),
]


@pytest.mark.parametrize(("name", "facts", "why"), NOT_LISTED)
async def test_an_event_that_is_not_as_listed_fails_the_test_that_tells_it(
    redis: Redis, keys: Keys, name: str, facts: dict[str, str], why: str
) -> None:
    with pytest.raises(EventNotListed, match=f"^{name}: {why};"):
        await publish_event(redis, keys, name, "here", facts=facts)
    assert await read_events(redis, keys, after="0", limit=1) == []


@pytest.fixture
def in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "refuse_unlisted", False)
    monkeypatch.setattr(events, "_logged", set())


@pytest.mark.usefixtures("in_production")
async def test_a_deployment_tells_what_is_not_listed_all_the_same_and_logs_it_once_for_each_name(
    redis: Redis,
) -> None:
    keys = Keys(prefix="unlisted")
    with capture_logs() as logged:
        for mood in ("good", "bad"):
            await publish_event(redis, keys, "beat_yawned", "beat@here", facts={"mood": mood})
        await publish_event(redis, keys, "job_paused", "job:digest")
        await publish_event(redis, keys, "beat_leads", "beat@here")

    told = await read_events(redis, keys, after="0", limit=9)
    await redis.delete(keys.events)
    assert [event.type for event in told] == ["beat_yawned", "beat_yawned", "job_paused", "beat_leads"]
    assert [event.facts.get("mood") for event in told[:2]] == ["good", "bad"]
    assert [(each["event"], each["type"], each["why"]) for each in logged] == [
        ("event_not_listed", "beat_yawned", "no such event is listed"),
        ("event_not_listed", "job_paused", "it has to tell by"),
    ]


async def test_an_event_of_another_version_is_read_as_it_was_told(redis: Redis, keys: Keys) -> None:
    await tell_made_up(redis, keys, "beat@here", mood="good", tenant="")

    (event,) = await read_events(redis, keys, after="0", limit=9)
    assert (event.type, event.facts) == ("made_up", {"source": "beat@here", "mood": "good"})
