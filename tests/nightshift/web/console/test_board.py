from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from nightshift.store.keys import Keys
from nightshift.web.console import board as boards
from nightshift.web.console.board import Board
from nightshift.web.hub import EventHub
from tests.conftest import tell_made_up


@pytest.fixture
def hub(redis: Redis, keys: Keys) -> EventHub:
    return EventHub(redis, keys)


@pytest.fixture
async def board(hub: EventHub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Board]:
    monkeypatch.setattr(boards, "PACE", timedelta(0))
    board = Board(hub, lambda: datetime.now(UTC))
    tasks = [asyncio.create_task(hub.follow()), asyncio.create_task(board.follow())]
    await hub.until_changed(timedelta(seconds=5))  # it follows the stream from here on
    await asyncio.sleep(0)
    yield board
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Reading:
    """Counts how often it is asked, and takes a moment each time."""

    def __init__(self) -> None:
        self.times = 0
        self.error: Exception | None = None

    async def __call__(self) -> str:
        await asyncio.sleep(0.01)
        if self.error:
            raise self.error
        self.times += 1
        return f"read {self.times} times"


async def test_many_pages_that_show_the_same_read_it_once(board: Board) -> None:
    read = Reading()
    shown = await asyncio.gather(*(board.show("now", read) for _ in range(20)))
    assert (set(shown), read.times) == ({"read 1 times"}, 1)


async def test_nothing_is_read_again_before_something_has_happened(
    board: Board, redis: Redis, keys: Keys
) -> None:
    read = Reading()
    await board.show("now", read)
    assert await board.show("now", read) == "read 1 times"
    await tell_made_up(redis, keys, "job:x")
    async with asyncio.timeout(5):
        while await board.show("now", read) == "read 1 times":
            await asyncio.sleep(0.01)
    assert read.times == 2


async def test_what_nobody_asks_for_is_forgotten(
    board: Board, redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "KEEP", timedelta(0))
    await board.show("old", Reading())
    await tell_made_up(redis, keys, "job:x")
    async with asyncio.timeout(5):
        while board._parts:
            await asyncio.sleep(0.01)


async def test_while_the_store_is_away_what_was_read_last_stays_and_nothing_is_asked(
    board: Board, hub: EventHub
) -> None:
    read = Reading()
    await board.show("now", read)
    hub._turn(away="the store is gone")
    await asyncio.sleep(0)
    assert await board.show("now", read) == "read 1 times"
    assert board.away_since is not None


async def test_a_reading_that_fails_is_tried_again_and_takes_no_page_with_it(board: Board) -> None:
    read = Reading()
    read.error = ConnectionError("gone")
    assert await board.show("now", read) == ""
    read.error = None
    assert await board.show("now", read) == "read 1 times"
