"""
An echo bot for Matrix, made always-on by the lines that end in a plus.

It speaks the client-server API by aiohttp, which is all that nightshift's client needs, too:

    MATRIX_URL=https://… MATRIX_TOKEN=… NIGHT_URL=http://127.0.0.1:8390 NIGHT_TOKEN=nst_… python bot.py
"""

from __future__ import annotations

import asyncio
import os
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp

from nightshift.client import Nightshift  # +

night = Nightshift(os.environ["NIGHT_URL"], os.environ["NIGHT_TOKEN"], platform="matrix")  # +

API = "/_matrix/client/v3"
WAIT_MS = 30_000


class Echo:
    """Says again what it hears."""

    def __init__(self, matrix: aiohttp.ClientSession) -> None:
        self.matrix = matrix

    async def run(self) -> None:
        me = (await self.call("GET", "/account/whoami"))["user_id"]
        night.connected(me)  # +
        since = (await self.call("GET", "/sync", timeout="0"))[
            "next_batch"
        ]  # what was said before is answered
        while True:
            news = await self.call("GET", "/sync", since=since, timeout=str(WAIT_MS))
            since = news["next_batch"]
            for room, joined in news.get("rooms", {}).get("join", {}).items():
                for event in joined["timeline"]["events"]:
                    if event["type"] == "m.room.message" and "body" in event["content"]:
                        await self.hear(me, room, event)

    async def hear(self, me: str, room: str, event: dict[str, Any]) -> None:
        by, text = event["sender"], event["content"]["body"]
        at = datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)
        await night.observe(room, event["event_id"], text, user_id=by, user_name=by, at=at)  # +
        if by != me:
            await self.say(room, text)

    async def work(self) -> None:  # +
        async with night:  # +
            async for work in night.work():  # +
                await work.reply(work.instruction)  # +  here a cleverer bot thinks

    async def say(self, room: str, text: str) -> None:
        path = f"/rooms/{quote(room, safe='')}/send/m.room.message/{uuid.uuid4().hex}"
        await self.call("PUT", path, {"msgtype": "m.text", "body": text})

    async def call(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        async with self.matrix.request(method, API + path, json=body, params=query) as answer:
            answer.raise_for_status()
            return dict(await answer.json())


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['MATRIX_TOKEN']}"}
    async with aiohttp.ClientSession(os.environ["MATRIX_URL"], headers=headers) as matrix:
        echo = Echo(matrix)
        echo.always_on = asyncio.create_task(echo.work())  # +
        await echo.run()


if __name__ == "__main__":
    asyncio.run(main())
