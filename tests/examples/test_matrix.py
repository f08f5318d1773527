"""The bot for Matrix, on a stand-in of a homeserver with recorded shapes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from nightshift.channels.ref import ChannelRef
from nightshift.web.tokens import Tokens
from tests.examples.conftest import Load, bots_token, hand, platform, said
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.web.conftest import Serve

ROOM = "!room:example.org"
ME, ANN = "@echo:example.org", "@ann:example.org"


class Homeserver:
    """One room, and a timeline that /sync goes through."""

    def __init__(self) -> None:
        self.timeline: list[dict[str, Any]] = []
        self.more = asyncio.Event()
        self.asked_for_news = asyncio.Event()

    @property
    def routes(self) -> list[web.RouteDef]:
        api = "/_matrix/client/v3"
        return [
            web.get(f"{api}/account/whoami", self.whoami),
            web.get(f"{api}/sync", self.sync),
            web.put(f"{api}/rooms/{{room}}/send/m.room.message/{{txn}}", self.send),
        ]

    def say(self, sender: str, text: str) -> str:
        event = {
            "type": "m.room.message",
            "event_id": f"${len(self.timeline)}",
            "sender": sender,
            "origin_server_ts": round(time.time() * 1000),
            "content": {"msgtype": "m.text", "body": text},
        }
        self.timeline.append(event)
        self.more.set()
        return str(event["event_id"])

    async def whoami(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer matrix-token"
        return web.json_response({"user_id": ME})

    async def sync(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", len(self.timeline)))
        if request.query["timeout"] != "0":
            self.asked_for_news.set()
            while since == len(self.timeline):
                self.more.clear()
                await self.more.wait()
        joined = {ROOM: {"timeline": {"events": self.timeline[since:], "limited": False}}}
        return web.json_response({"next_batch": str(len(self.timeline)), "rooms": {"join": joined}})

    async def send(self, request: web.Request) -> web.Response:
        text = (await request.json())["body"]
        return web.json_response({"event_id": self.say(ME, text)})


async def test_the_echo_bot_is_always_on(serve: Serve, stage: Stage, tokens: Tokens, load: Load) -> None:
    fake, room = Homeserver(), ChannelRef("matrix", ROOM)
    async with serve() as here, platform(fake.routes) as address:
        env = {"MATRIX_URL": f"http://{address}", "MATRIX_TOKEN": "matrix-token"}
        token = await bots_token(tokens)
        example = load("matrix/bot.py", NIGHT_URL=here.url, NIGHT_TOKEN=token, **env)
        living = asyncio.create_task(example.main())
        await asyncio.wait_for(fake.asked_for_news.wait(), 10)
        fake.say(ANN, "hello")

        messages = here.web.observer.messages
        async with asyncio.timeout(10):
            while len(await messages.last(room, 10)) < 2:
                await asyncio.sleep(0.02)
        heard = [(each.user_id, each.text, each.origin) for each in await messages.last(room, 10)]
        assert heard == [(ANN, "hello", "human"), (ME, "hello", "agent")]

        run = await hand(stage, room)
        async with asyncio.timeout(10):
            while not (await here.web.ledger.get(run)).state.ended:
                await asyncio.sleep(0.02)
        assert await said(here, run) == "Good night, all."
        living.cancel()
        working = [task for task in asyncio.all_tasks() if "Echo.work" in repr(task)]
        for task in working:
            task.cancel()
        await asyncio.wait({living, *working})
