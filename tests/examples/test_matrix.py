"""The bot for Matrix, on a stand-in of a homeserver with recorded shapes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest
from aiohttp import web

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from tests.examples.conftest import Load, hand, platform, said
from tests.examples.matrix_bot import Awake, remembered
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve
from tests.nightshift.web.serving import Served

ROOM = ChannelRef("matrix", "!room:example.org")
ME, ANN, EVE, ROBOT = (f"@{name}:example.org" for name in ("echo", "ann", "eve", "robot"))


class Homeserver:
    """One room, and a timeline that /sync goes through."""

    def __init__(self) -> None:
        self.timeline: list[dict[str, Any]] = []
        self.more = asyncio.Event()
        self.asked_for_news = asyncio.Event()
        #: What happens instead of an answer, once each.
        self.troubles: list[str] = []
        self.refused: list[str] = []

    @property
    def routes(self) -> list[web.RouteDef]:
        api = "/_matrix/client/v3"
        return [
            web.get(f"{api}/account/whoami", self.whoami),
            web.get(f"{api}/sync", self.sync),
            web.get(f"{api}/rooms/{{room}}/event/{{id}}", self.event),
            web.put(f"{api}/rooms/{{room}}/send/m.room.message/{{txn}}", self.send),
        ]

    def say(self, sender: str, text: str, **more: Any) -> str:
        return self.tell("m.room.message", sender, {"msgtype": "m.text", "body": text} | more)

    def edit(self, sender: str, id: str, text: str) -> str:
        relation = {"rel_type": "m.replace", "event_id": id}
        content = {"msgtype": "m.text", "body": text}
        return self.say(sender, f"* {text}", **{"m.new_content": content, "m.relates_to": relation})

    def tell(self, type: str, sender: str, content: Any, **more: Any) -> str:
        id = f"${len(self.timeline)}/x"  # some versions of rooms have such ids
        at = round(time.time() * 1000)
        event = {"type": type, "event_id": id, "sender": sender, "origin_server_ts": at, "content": content}
        self.timeline.append(event | more)
        self.more.set()
        return id

    async def interrupt(self, request: web.Request) -> None:
        if not self.troubles:
            return
        trouble = self.troubles.pop(0)
        self.refused.append(f"{trouble} {request.path}")
        if trouble == "reset":
            assert request.transport
            request.transport.abort()
            raise web.HTTPServiceUnavailable
        if trouble == "502":
            raise web.HTTPBadGateway(text="<html>")
        limited = {"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": 20}
        raise web.HTTPTooManyRequests(text=json.dumps(limited), content_type="application/json")

    async def whoami(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer matrix-token"
        await self.interrupt(request)
        return web.json_response({"user_id": ME})

    async def sync(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", len(self.timeline)))
        if request.query["timeout"] != "0":
            self.asked_for_news.set()
            while since == len(self.timeline):
                self.more.clear()
                await self.more.wait()
            await self.interrupt(request)
        name = {"membership": "join", "displayname": "Ann"}
        member = {"type": "m.room.member", "state_key": ANN, "sender": ANN, "content": name}
        timeline = {"events": self.timeline[since:], "limited": False}
        joined = {ROOM.id: {"state": {"events": [member]}, "timeline": timeline}}
        return web.json_response({"next_batch": str(len(self.timeline)), "rooms": {"join": joined}})

    async def event(self, request: web.Request) -> web.Response:
        found = [each for each in self.timeline if each["event_id"] == request.match_info["id"]]
        return web.json_response(
            found[0] if found else {"errcode": "M_NOT_FOUND"}, status=200 if found else 404
        )

    async def send(self, request: web.Request) -> web.Response:
        await self.interrupt(request)
        content = await request.json()
        return web.json_response({"event_id": self.tell("m.room.message", ME, content)})

    def said_by(self, sender: str) -> list[str]:
        return [each["content"]["body"] for each in self.timeline if each["sender"] == sender]


class Bot(Protocol):
    """The bot, awake beside this homeserver and with this in its environment."""

    def __call__(self, fake: Homeserver, **env: str) -> AbstractAsyncContextManager[Served]: ...


@pytest.fixture
def fake() -> Homeserver:
    return Homeserver()


@pytest.fixture
def bot(serve: Serve, tokens: Tokens, load: Load) -> Bot:
    awake = Awake(serve, tokens, load)

    @asynccontextmanager
    async def woken(fake: Homeserver, **env: str) -> AsyncIterator[Served]:
        async with (
            platform(fake.routes) as address,
            awake(f"http://{address}", "matrix-token", **env) as here,
        ):
            await asyncio.wait_for(fake.asked_for_news.wait(), 10)
            yield here

    return woken


async def test_the_echo_bot_is_always_on(bot: Bot, fake: Homeserver, stage: Stage) -> None:
    async with bot(fake) as here:
        fake.say(ANN, "hello")
        hello, echo = await remembered(here, ROOM, "hello", "hello")
        assert (hello.user_id, hello.user_name, hello.origin) == (ANN, "Ann", "human")
        assert (echo.user_id, echo.origin) == (ME, "agent")

        run = await hand(stage, ROOM)
        async with asyncio.timeout(10):
            while not (await here.web.here.runs.ledger.get(run)).state.ended:
                await asyncio.sleep(0.02)
        assert await said(here, run) == "Good night, all."


async def test_it_tells_what_was_edited_and_taken_back_and_echoes_neither(bot: Bot, fake: Homeserver) -> None:
    async with bot(fake) as here:
        roses, regretted, again = (fake.say(ANN, text) for text in ("rozes", "never mind", "oh dear"))
        await remembered(here, ROOM, *["rozes", "never mind", "oh dear"] * 2)
        fake.edit(ANN, roses, "roses")
        fake.edit(EVE, roses, "I owe Eve money")
        fake.tell("m.room.redaction", ANN, {}, redacts=regretted)
        fake.tell("m.room.redaction", ANN, {"redacts": again})
        fake.tell("m.room.message", ANN, {})  # as it is told of once it was redacted
        fake.say(ANN, "done")
        found = await remembered(here, ROOM, "roses", "rozes", "never mind", "oh dear", "done", "done")
        assert [each.edited_at is not None for each in found] == [True, *[False] * 5]
        assert fake.said_by(ME) == ["rozes", "never mind", "oh dear", "done"]


async def test_it_answers_no_bot_and_not_itself(bot: Bot, fake: Homeserver) -> None:
    async with bot(fake) as here:
        fake.say(ROBOT, "I am a robot", msgtype="m.notice")
        fake.say(ME, "said by nightshift")
        fake.say(ANN, "hello")
        robot, own, *_ = await remembered(here, ROOM, "I am a robot", "said by nightshift", "hello", "hello")
        assert (robot.origin, own.origin) == ("agent", "agent")
        assert fake.said_by(ME) == ["said by nightshift", "hello"]
        assert fake.timeline[-1]["content"]["msgtype"] == "m.notice"


async def test_it_outlives_limits_and_lost_connections(bot: Bot, fake: Homeserver) -> None:
    fake.troubles = ["429", "reset", "502"]
    async with bot(fake) as here:
        fake.troubles = ["reset", "reset", "reset", "502"]  # aiohttp itself asks once more after the first
        fake.say(ANN, "hello")
        await remembered(here, ROOM, "hello", "hello")
        fake.troubles = ["429", "429"]
        fake.say(ANN, "again")
        await remembered(here, ROOM, "hello", "hello", "again", "again")
    assert fake.troubles == []


async def test_what_makes_no_sense_costs_nothing_else(bot: Bot, fake: Homeserver) -> None:
    async with bot(fake) as here:
        lost = fake.edit(ANN, "$gone", "of what is not there")
        for content in (5, {"msgtype": "m.text"}, {"msgtype": "m.image", "body": "cat.jpg"}):
            fake.tell("m.room.message", ANN, content)
        fake.say(ANN, "odd", **{"m.relates_to": 7})
        fake.say(ANN, "odd", **{"m.relates_to": {"rel_type": "m.replace", "event_id": lost}})
        fake.tell("m.room.redaction", ANN, {})
        fake.say(ANN, "hello")
        await remembered(here, ROOM, "hello", "hello")


async def test_it_calls_the_platform_as_the_settings_do(bot: Bot, fake: Homeserver) -> None:
    async with bot(fake, NIGHT_PLATFORM="house") as here:
        fake.say(ANN, "hello")
        await remembered(here, ChannelRef("house", ROOM.id), "hello", "hello")
