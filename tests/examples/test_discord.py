"""The bot of discord.py, on a stand-in of Discord's gateway and REST API."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import discord
import pytest
import yarl
from aiohttp import WSMsgType, web

from nightshift.access.tokens import Tokens
from nightshift.base.refs import ChannelRef
from tests.examples.conftest import Load, bots_token, hand, platform, said
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve

BOT = {
    "id": "4711",
    "username": "echo",
    "discriminator": "0",
    "avatar": None,
    "bot": True,
    "global_name": None,
}
ANN = BOT | {"id": "42", "username": "ann", "bot": False}
ROBOT = BOT | {"id": "99", "username": "robot"}
DM = "1001"


def as_json(value: Any) -> web.Response:
    # Discord names no charset, and the library looks for just this.
    return web.Response(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


class Discord:
    """As much of it as an echo bot meets in a conversation between two."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.echoed = asyncio.Event()
        self.gateway: web.WebSocketResponse | None = None
        self.number = 0
        now = discord.utils.time_snowflake(datetime.now(UTC))  # a message's id says when it was sent
        self.ids = {"ann": now, "echo": now + 1, "robot": now + 2}

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/users/@me", self.me),
            web.get("/api/oauth2/applications/@me", self.application),
            web.post("/api/channels/{id}/messages", self.post),
            web.get("/gateway", self.connect),
        ]

    async def me(self, _: web.Request) -> web.Response:
        return as_json(BOT)

    async def application(self, _: web.Request) -> web.Response:
        names = {"id": "4711", "name": "echo", "description": "", "icon": None, "summary": ""}
        facts = {
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "k",
            "flags": 0,
            "owner": BOT,
        }
        return as_json(names | facts | {"team": None})

    async def post(self, request: web.Request) -> web.Response:
        text = (await request.json())["content"]
        self.sent.append(text)
        message = self.message(BOT, text)
        await self.dispatch("MESSAGE_CREATE", message)
        self.echoed.set()
        return as_json(message)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        self.gateway = web.WebSocketResponse()
        await self.gateway.prepare(request)
        await self.gateway.send_json({"op": 10, "d": {"heartbeat_interval": 45_000}})
        async for frame in self.gateway:
            if frame.type is WSMsgType.TEXT and json.loads(frame.data)["op"] == 2:
                ready = {
                    "v": 10,
                    "user": BOT,
                    "guilds": [],
                    "session_id": "s",
                    "application": {"id": "1", "flags": 0},
                }
                await self.dispatch("READY", ready | {"resume_gateway_url": "ws://127.0.0.1:9"})
        return self.gateway

    async def dispatch(self, event: str, data: Any) -> None:
        assert self.gateway
        self.number += 1
        await self.gateway.send_json({"op": 0, "t": event, "s": self.number, "d": data})

    def message(self, author: dict[str, Any], text: str, *, edited: bool = False) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        empty: dict[str, Any] = {
            "attachments": [],
            "embeds": [],
            "mentions": [],
            "mention_roles": [],
            "components": [],
        }
        flags = {
            "pinned": False,
            "mention_everyone": False,
            "tts": False,
            "type": 0,
            "flags": 0,
            "channel_type": 1,
        }
        times = {"timestamp": now, "edited_timestamp": now if edited else None}
        return (
            {"id": str(self.ids[author["username"]]), "channel_id": DM, "author": author, "content": text}
            | empty
            | flags
            | times
        )


async def test_the_echo_bot_is_always_on(
    serve: Serve, stage: Stage, tokens: Tokens, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, room = Discord(), ChannelRef("discord", DM)
    async with serve() as here, platform(fake.routes) as address:
        monkeypatch.setattr(discord.http.Route, "BASE", f"http://{address}/api")
        gateway = yarl.URL(f"ws://{address}/gateway")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
        example = load("discord.py/bot.py", NIGHT_URL=here.url, NIGHT_TOKEN=await bots_token(tokens))
        intents = discord.Intents.default()
        intents.message_content = True
        bot = example.Echo(intents=intents, guild_ready_timeout=0.05)
        living = asyncio.create_task(bot.start("token"))
        await until_ready(bot, living)

        await fake.dispatch("MESSAGE_CREATE", fake.message(ANN, "hello"))
        await asyncio.wait_for(fake.echoed.wait(), 10)
        await fake.dispatch("MESSAGE_UPDATE", fake.message(ANN, "hello!", edited=True))
        messages = here.web.here.memory.messages
        async with asyncio.timeout(10):
            while [each.text for each in await messages.last(room, 10)] != ["hello!", "hello"]:
                await asyncio.sleep(0.02)
        mine, echo = await messages.last(room, 10)
        assert (mine.user_name, mine.origin, mine.user_id) == ("ann", "human", "42")
        assert (echo.user_name, echo.origin, echo.user_id) == ("echo", "agent", "4711")

        await fake.dispatch("MESSAGE_DELETE", {"id": mine.id, "channel_id": DM})
        await fake.dispatch("MESSAGE_CREATE", fake.message(ROBOT, "beep"))
        async with asyncio.timeout(10):
            while [each.text for each in await messages.last(room, 10)] != ["hello", "beep"]:
                await asyncio.sleep(0.02)
        _, robot = await messages.last(room, 10)
        assert (robot.user_name, robot.origin) == ("robot", "agent")

        run = await hand(stage, room)
        async with asyncio.timeout(10):
            while not (await here.web.here.runs.ledger.get(run)).state.ended:
                await asyncio.sleep(0.02)
        assert await said(here, run) == "Good night, all."
        assert fake.sent == ["hello"]  # what the agent says is delivered by us, not by this bot

        bot.always_on.cancel()
        await asyncio.wait({bot.always_on})
        await bot.close()
        await asyncio.wait({living})


async def until_ready(bot: discord.Client, living: asyncio.Task[None]) -> None:
    async with asyncio.timeout(10):
        while not bot.is_ready():
            if living.done():
                living.result()
            await asyncio.sleep(0.02)
