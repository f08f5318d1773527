"""A bot's side, against a web that is away, slow, or wrong."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from nightshift import client
from nightshift.base.errors import BadSetting
from nightshift.client import Nightshift

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses short enough for tests."""
    for name, seconds in (("GATHER_S", 0.05), ("FIRST_PAUSE_S", 0.01), ("LONGEST_PAUSE_S", 0.05)):
        monkeypatch.setattr(client, name, seconds)


@asynccontextmanager
async def pretending(handler: Handler) -> AsyncIterator[Nightshift]:
    """A bot of a web that answers like this."""
    application = web.Application(client_max_size=10**8)
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Nightshift(f"http://127.0.0.1:{port}", "t", platform="discord") as night:
            yield night
    finally:
        await runner.cleanup()


async def test_what_is_told_is_told_again_until_it_is_heard() -> None:
    tries: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        tries.append(await request.json())
        match len(tries):
            case 1:
                return web.Response(status=503)
            case 2:
                return web.Response(status=429, headers={"Retry-After": "0"})
            case 3:
                return web.Response(text="not json")
            case 4:
                assert request.transport
                request.transport.abort()
                return web.Response()
        return web.json_response({"outcomes": ["new"], "cut": 0})

    async with pretending(handler) as night:
        await night.observe("c", "m1", "hello", user_id="u", at=NOW)
    assert len(tries) == 5
    assert all(each == tries[0] for each in tries)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "404 page not found"),
        (408, ""),
        (409, "<html>"),
        # Ours, but not about what the bot works on.
        (404, json.dumps({"type": "urn:nightshift:unknown-agent", "detail": "no agent is called 'night'"})),
    ],
)
async def test_a_no_that_says_nothing_of_the_bots_work_ends_nothing(status: int, text: str) -> None:
    met: set[str] = set()
    work = {
        "run": "r",
        "token": 1,
        "lease_s": 30,
        "attempt": 1,
        "channel": {"platform": "discord", "id": "c"},
        "cause": "heartbeat",
        "instruction": "Say good night.",
        "context": [],
    }
    answers = {"/v1/observe": {"outcomes": ["new"], "cut": 0}, "/v1/work": work}

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path not in met:
            met.add(request.path)
            return web.Response(status=status, text=text)
        heard.append(request.path)
        return web.json_response(answers.get(request.path, {}))

    heard: list[str] = []
    async with pretending(handler) as night:
        night.connected("b")
        await night.observe("c", "m1", "hello", user_id="u", at=NOW)
        async with asyncio.timeout(5):
            assert await (await anext(night.work())).reply("good night")
            while len(set(heard)) < 4:
                await asyncio.sleep(0.01)
    assert {*heard} == {"/v1/observe", "/v1/alive", "/v1/work", "/v1/work/r/reply"}


async def test_a_bot_never_waits_for_who_is_away_and_keeps_a_bounded_amount(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(client, "KEPT", 100)
    monkeypatch.setattr(client, "LAST_WORDS_S", 0.1)
    blocked = asyncio.Event()

    async def handler(_: web.Request) -> web.StreamResponse:
        await blocked.wait()
        return web.Response(status=503)

    with caplog.at_level(logging.WARNING, "nightshift.client"):
        async with pretending(handler) as night:
            for n in range(1_000):
                await night.observe("c", f"m{n}", "x", user_id="u", at=NOW)
            assert len(night._waiting) <= 100
    assert "100 messages were not told" in caplog.text
    blocked.set()


async def test_one_request_carries_no_more_than_the_other_side_reads() -> None:
    sizes: list[int] = []
    told: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sizes.append(len(await request.read()))
        messages = json.loads(await request.text())["messages"]
        told.extend(each["id"] for each in messages)
        return web.json_response({"outcomes": ["new"] * len(messages), "cut": 0})

    async with pretending(handler) as night:
        for n in range(60):
            await night.observe("c", f"m{n}", "\u4e00\ud800" * 500_000, user_id="u", at=NOW)
    assert told == [f"m{n}" for n in range(60)]
    assert max(sizes) < 2 * 1024 * 1024


async def test_a_batch_that_is_refused_is_given_up_and_the_next_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        messages = (await request.json())["messages"]
        heard.extend(each["id"] for each in messages)
        if "bad" in heard[-1]:
            return web.json_response({"detail": "no"}, status=422)
        return web.json_response({"outcomes": ["too old"] * len(messages), "cut": 0})

    async with pretending(handler) as night:
        await night.observe("c", "bad", "x", user_id="u", at=NOW)
        async with asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.01)
        await night.observe("c", "good", "x", user_id="u", at=NOW)
    assert heard == ["bad", "good"]
    assert "refused: 422 no" in caplog.text
    assert "refused: too old" in caplog.text


async def test_who_is_sent_away_at_once_does_not_ask_again_at_once() -> None:
    asked = 0

    async def handler(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=204)

    async with pretending(handler) as night:
        asking = asyncio.create_task(anext(night.work()))
        await asyncio.sleep(0.2)
        asking.cancel()
    assert 2 < asked <= 60


async def test_a_token_is_shown_to_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    elsewhere: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        elsewhere.append(request.path)
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")

    async with pretending(handler) as night:
        await night.observe("c", "m1", "x", user_id="u", at=NOW)
    assert set(elsewhere) == {"/v1/observe"}
    assert "leads on to http://127.0.0.1:9/elsewhere" in caplog.text
    assert "Bearer" not in repr(night)


async def test_an_instant_without_a_zone_is_refused_where_it_is_given() -> None:
    night = Nightshift("http://127.0.0.1:9", "t", platform="discord")
    with pytest.raises(BadSetting, match="has no time zone"):
        await night.observe("c", "m1", "x", user_id="u", at=NOW.replace(tzinfo=None))


async def test_work_ends_when_the_bot_closes() -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def handler(_: web.Request) -> web.StreamResponse:
        asked.set()
        await over.wait()
        return web.Response(status=204)

    async with pretending(handler) as night:
        asking = asyncio.create_task(anext(night.work(), None))
        await asked.wait()
        closing = asyncio.create_task(night.close())
        await asyncio.sleep(0)
        over.set()
        await closing
        assert await asyncio.wait_for(asking, 5) is None
