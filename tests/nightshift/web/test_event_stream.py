"""Events as browsers get them, from a real server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from nightshift.access.tokens import Tokens
from nightshift.store.keys import Keys
from nightshift.web import serve as serve_module
from nightshift.web.api import events as events_module
from nightshift.web.serve import GRACE_S
from tests.conftest import tell_made_up
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve
from tests.nightshift.web.serving import Served


async def publish(store: Redis, *numbers: int, preview: str = "") -> None:
    pipeline = store.pipeline(transaction=False)
    for number in numbers:
        await tell_made_up(pipeline, Keys(), str(number), preview=preview)
    await pipeline.execute()


def counted(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["source"]) for event in events]


async def test_a_change_of_a_run_is_told_within_moments(serve: Serve, stage: Stage) -> None:
    async with serve() as here, here.listener() as listener:
        await here.until_listeners(1)
        run = await stage.run()
        (told,) = await listener.until_events(1, seconds=2)
    assert (told["type"], told["run"], told["tenant"]) == ("run_recorded", run, "default")
    assert set(told) > {"id", "at", "source", "status", "queue", "nominal"}


async def test_whoever_is_cut_off_comes_back_without_loss(serve: Serve, store: Redis) -> None:
    async with serve() as here:
        async with here.listener() as listener:
            await here.until_listeners(1)
            await publish(store, *range(5))
            await listener.until_events(5)
        await here.until_listeners(0)
        await publish(store, 5, 6)
        async with here.listener(after=listener.heard[-1].id or "") as again:
            assert counted(await again.until_events(2)) == [5, 6]
        async with here.client() as client:
            for resume in ("soon", "1-2-3", f"1-{2**64}"):
                answer = await client.get("/v1/events", headers={"Last-Event-ID": resume})
                assert answer.status_code == 422


async def test_a_tenants_listener_hears_of_its_own_runs_alone(
    serve: Serve, stage: Stage, tokens: Tokens, store: Redis
) -> None:
    async with serve() as here:
        secret = await tokens.create("bob", tenant="b")
        async with here.listener(secret=secret) as listener:
            await here.until_listeners(1)
            await publish(store, 1)
            await stage.run("theirs", tenant="a")
            ours = await stage.run("ours", tenant="b")
            assert [event["run"] for event in await listener.until_events(1)] == [ours]


async def test_a_listener_hears_no_more_once_its_token_is_revoked(
    serve: Serve, tokens: Tokens, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "LOOK_AGAIN_S", 0)
    async with serve() as here:
        async with here.listener(secret=await tokens.create("bob")) as listener:
            await here.until_listeners(1)
            await publish(store, 1)
            await listener.until_events(1)
            await tokens.revoke("bob")
            await publish(store, 2)
            await listener.until_ended()
        assert counted(listener.events) == [1]


async def test_no_more_listeners_are_taken_on_than_can_be_served(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "MOST_LISTENERS", 2)
    async with serve() as here, here.client() as client:
        async with here.listener(), here.listener():
            await here.until_listeners(2)
            refused = await client.get("/v1/events")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
            assert refused.json()["type"] == "urn:nightshift:too-many-listeners"
        await here.until_listeners(0)
        async with here.listener():
            await here.until_listeners(1)


async def ask_and_never_read(here: Served, stack: AsyncExitStack) -> socket.socket:
    """A listener that takes nothing, with as little room for what it is sent as the system allows."""
    deaf = stack.enter_context(socket.socket())
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", here.port))
    asking = f"GET /v1/events HTTP/1.1\r\nHost: web\r\nAuthorization: Bearer {here.secret}\r\n\r\n"
    await loop.sock_sendall(deaf, asking.encode())
    return deaf


async def test_a_listener_that_takes_nothing_for_long_loses_its_place(
    serve: Serve, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the system would give its connection up."""
    monkeypatch.setattr(events_module, "SEND_TIMEOUT_S", 0.2)
    async with serve() as here, AsyncExitStack() as stack:
        await ask_and_never_read(here, stack)
        await here.until_listeners(1)
        for round in range(4):
            await publish(store, *range(round * 1000, round * 1000 + 1000), preview="x" * 1000)
        await here.until_listeners(0)


async def test_listeners_that_never_read_are_cut_off_and_cost_neither_memory_nor_others_events(
    serve: Serve, store: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "SEND_TIMEOUT_S", 1)
    monkeypatch.setattr(serve_module, "TAKES_NOTHING_S", 1)
    process = psutil.Process()
    async with serve() as here, AsyncExitStack() as stack, here.listener() as listener:
        for _ in range(500):
            await ask_and_never_read(here, stack)
        await here.until_listeners(501)
        before = process.memory_info().rss
        most = before
        for round in range(10):
            await publish(store, *range(round * 100, round * 100 + 100), preview="x" * 400)
            await listener.until_events(round * 100 + 100, seconds=30)
            most = max(most, process.memory_info().rss)
        assert counted(listener.events) == list(range(1000))
        await here.until_listeners(1)
        assert most - before < 300 * 2**20
        async with asyncio.timeout(10):
            while connections(process, here) > 30:
                await asyncio.sleep(0.1)


def connections(process: psutil.Process, here: Served) -> int:
    return sum(each.laddr[1] == here.port for each in process.net_connections("tcp"))


async def test_streams_end_when_the_server_is_told_to_stop(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        async with serve() as here:
            listeners = [await stack.enter_async_context(here.listener()) for _ in range(5)]
            await here.until_listeners(5)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < GRACE_S
        for listener in listeners:
            await listener.until_ended(1)
        assert here.web.hub.listeners == 0
