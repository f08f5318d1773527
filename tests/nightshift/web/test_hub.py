"""The event stream as it is handed on, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.store.events import Event
from nightshift.store.keys import Keys
from nightshift.web import hub as hub_module
from nightshift.web.hub import PACE, EventHub, Frame, Sees
from tests.conftest import tell_made_up


@pytest.fixture
async def hub(redis: Redis, keys: Keys) -> AsyncIterator[EventHub]:
    """A hub that follows the stream."""
    async with following(EventHub(redis, keys)) as hub:
        yield hub


@asynccontextmanager
async def following(hub: EventHub) -> AsyncIterator[EventHub]:
    task = asyncio.create_task(hub.follow())
    try:
        yield hub
    finally:
        task.cancel()
        await asyncio.wait({task})


def everything(event: Event) -> bool:
    return True


async def publish(redis: Redis, keys: Keys, *numbers: int, tenant: str = "") -> list[str]:
    """Events by number, all at once; their ids."""
    pipeline = redis.pipeline(transaction=True)
    for number in numbers:
        await tell_made_up(pipeline, keys, str(number), tenant=tenant)
    ids: list[str] = await pipeline.execute()
    return ids


def numbers(frames: list[Frame]) -> list[int]:
    return [
        int(event["source"]) for frame in frames if frame.kind == "events" for event in json.loads(frame.data)
    ]


async def hear(
    hub: EventHub, number: int, *, after: str | None = None, sees: Sees = everything, seconds: float = 10
) -> list[Frame]:
    """Listen until so many events came."""
    frames: list[Frame] = []
    async with asyncio.timeout(seconds), aclosing(hub.listen(after=after, sees=sees)) as listening:
        async for frame in listening:
            frames.append(frame)
            if len(numbers(frames)) >= number:
                break
    return frames


async def until_listeners(hub: EventHub, number: int) -> None:
    async with asyncio.timeout(5):
        while hub.listeners != number:
            await asyncio.sleep(0.005)


async def test_each_listener_gets_every_event_once_in_order(redis: Redis, keys: Keys, hub: EventHub) -> None:
    listening = [asyncio.create_task(hear(hub, 300)) for _ in range(3)]
    await until_listeners(hub, 3)
    for first in range(0, 300, 10):
        await publish(redis, keys, *range(first, first + 10))
    for heard in await asyncio.gather(*listening):
        assert numbers(heard) == list(range(300))
    assert hub.listeners == 0


async def test_what_came_before_somebody_listens_is_not_told(redis: Redis, keys: Keys) -> None:
    await publish(redis, keys, 1)
    async with following(EventHub(redis, keys)) as hub:
        listening = asyncio.create_task(hear(hub, 1))
        await until_listeners(hub, 1)
        await hear(hub, 1, after="0-0")  # by now it follows the stream
        await publish(redis, keys, 2)
        assert numbers(await listening) == [2]


@pytest.mark.parametrize("after", [None, "0-0"])
async def test_whoever_listens_before_the_store_is_first_read_misses_nothing(
    redis: Redis, keys: Keys, after: str | None
) -> None:
    await publish(redis, keys, 1)
    hub = EventHub(redis, keys)
    listening = asyncio.create_task(hear(hub, 1, after=after))
    await until_listeners(hub, 1)
    async with following(hub):
        if after is None:
            await hear(hub, 1, after="0-0")
            await publish(redis, keys, 2)
        assert numbers(await listening) == [1 if after else 2]


async def test_a_listener_gets_at_most_four_frames_a_second(redis: Redis, keys: Keys, hub: EventHub) -> None:
    at: list[float] = []

    async def note_arrivals() -> None:
        clock = asyncio.get_running_loop().time
        async with aclosing(hub.listen(after="0-0", sees=everything)) as listening:
            async for _ in listening:
                at.append(clock())  # noqa: PERF401  one by one, because it is cut short

    listening = asyncio.create_task(note_arrivals())
    for number in range(110):
        await publish(redis, keys, number)
        await asyncio.sleep(0.01)
    listening.cancel()
    await asyncio.wait({listening})
    assert len(at) >= 3
    assert all(later - sooner >= PACE.total_seconds() * 0.95 for sooner, later in pairwise(at))


async def test_a_burst_comes_in_frames_of_bounded_size(
    redis: Redis, keys: Keys, hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "FRAME", 10)
    ids = await publish(redis, keys, *range(25))
    heard = await hear(hub, 25, after="0-0")
    assert [len(json.loads(frame.data)) for frame in heard if frame.kind == "events"] == [10, 10, 5]
    assert numbers(heard) == list(range(25))
    assert [frame.id for frame in heard if frame.kind == "events"] == [ids[9], ids[19], ids[24]]


# Resuming


@pytest.mark.parametrize("ring", [1_000, 5])
async def test_whoever_comes_back_goes_on_where_it_was(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, ring: int
) -> None:
    """From the ring, and from the store if that was too long ago."""
    monkeypatch.setattr(hub_module, "RING", ring)
    monkeypatch.setattr(hub_module, "FRAME", 10)
    async with following(EventHub(redis, keys)) as hub:
        ids = await publish(redis, keys, *range(30))
        await hear(hub, 30, after="0-0")
        heard = await hear(hub, 26, after=ids[3])
        await publish(redis, keys, 30, 31)
        again = await hear(hub, 2, after=heard[-1].id)
    assert numbers(heard) == list(range(4, 30))
    assert numbers(again) == [30, 31]
    assert "gap" not in {frame.kind for frame in heard + again}


async def test_whoever_comes_back_too_late_is_told_of_the_gap_and_goes_on_behind_it(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "RING", 2)
    async with following(EventHub(redis, keys)) as hub:
        ids = await publish(redis, keys, *range(30))
        await hear(hub, 30, after="0-0")
        await redis.xtrim(keys.events, maxlen=10, approximate=False)
        gap, *heard = await hear(hub, 10, after=ids[3])
        assert gap.id
        again = await hear(hub, 10, after=gap.id)
    assert (gap.kind, json.loads(gap.data)) == ("gap", {"after": ids[3], "next": ids[20]})
    assert numbers(heard) == numbers(again) == list(range(20, 30))
    assert {frame.kind for frame in again} == {"events"}


async def test_where_nothing_was_dropped_there_is_no_gap(redis: Redis, keys: Keys) -> None:
    await publish(redis, keys, 1, 2)
    async with following(EventHub(redis, keys)) as hub:
        heard = await hear(hub, 2, after="5-0")
    assert [frame.kind for frame in heard] == ["events"]


async def test_an_id_of_the_future_is_now(redis: Redis, keys: Keys, hub: EventHub) -> None:
    await publish(redis, keys, 0)
    listening = asyncio.create_task(hear(hub, 1, after="18446744073709551615-0"))
    number = 0
    while not listening.done():  # when "now" is, the hub asks the store
        number += 1
        await publish(redis, keys, number)
        await asyncio.sleep(0.01)
    assert numbers(await listening)[0] >= 1


@pytest.mark.parametrize("sooner", [False, True])
async def test_whoever_is_served_from_the_store_gets_nothing_twice(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, sooner: bool
) -> None:
    """The hub takes five at a time here, so that a listener is soon ahead of it."""
    monkeypatch.setattr(hub_module, "RING", 5)
    async with following(EventHub(redis, keys)) as hub:
        if sooner:
            await publish(redis, keys, *range(5))
        listening = asyncio.create_task(hear(hub, 31, after="0-0"))
        await until_listeners(hub, 1)
        await publish(redis, keys, *range(5 if sooner else 0, 30))
        await hear(hub, 30, after="0-0")
        await publish(redis, keys, 30)
        assert numbers(await listening) == list(range(31))


# Who sees what


async def test_what_a_listener_may_not_see_is_left_out_and_costs_no_frame(
    redis: Redis, keys: Keys, hub: EventHub
) -> None:
    for number in range(6):
        await publish(redis, keys, number, tenant="ab"[number % 2])
    heard = await hear(hub, 3, after="0-0", sees=lambda event: event.facts.get("tenant") == "b")
    assert numbers(heard) == [1, 3, 5]
    assert all(json.loads(frame.data) for frame in heard)


async def test_a_listener_that_never_reads_costs_a_place_and_keeps_nobody_waiting(
    redis: Redis, keys: Keys, hub: EventHub
) -> None:
    idle: Any = hub.listen(after="0-0", sees=everything)
    await publish(redis, keys, 0)
    await anext(idle)  # and never again
    for first in range(1, 300, 100):
        await publish(redis, keys, *range(first, first + 100))
    assert numbers(await hear(hub, 301, after="0-0"))[-1] == 300
    assert hub.listeners == 1
    await idle.aclose()
    assert hub.listeners == 0
