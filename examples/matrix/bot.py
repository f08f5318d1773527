"""
An echo bot for Matrix, made always-on by the lines that end in a plus.

It speaks the client-server API by aiohttp, which is all that nightshift's client needs, too:

    MATRIX_URL=https://… MATRIX_TOKEN=… NIGHT_URL=http://127.0.0.1:8390 NIGHT_TOKEN=nst_… python bot.py

NIGHT_PLATFORM is what nightshift's settings call this homeserver, as in [platforms.house]; unset: matrix.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from nightshift.client import Nightshift  # +

platform = os.environ.get("NIGHT_PLATFORM", "matrix")  # +
night = Nightshift(os.environ["NIGHT_URL"], os.environ["NIGHT_TOKEN"], platform=platform)  # +

log = logging.getLogger("bot")

API = "/_matrix/client/v3"
#: Those who speak are named with what they say, and nobody else.
NAMED = {"lazy_load_members": True, "include_redundant_members": True}
FILTER = json.dumps({"presence": {"not_types": ["*"]}, "room": {"state": NAMED, "timeline": {"limit": 50}}})
WAIT_MS = 30_000
TIMEOUT = aiohttp.ClientTimeout(total=60)
WRITTEN = ("m.text", "m.emote", "m.notice")
#: Seconds between tries, doubling.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
#: Seconds after which one event keeps the others waiting no longer.
PATIENCE = 600


class Said(NamedTuple):
    """A message, or what it reads now that it was edited."""

    room: str
    id: str
    by: str
    name: str
    text: str
    at: datetime
    #: Or "agent": this bot, or one that writes notices, as bots should; none of them is answered.
    origin: str = "human"


class Matrix:
    """As much of the client-server API as a bot needs."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.me = ""
        self.names: dict[str, str] = {}

    async def on_ready(self) -> None:
        """The bot knows who it is."""

    async def on_message(self, said: Said) -> None:
        """Somebody said something; the bot itself, too."""

    async def on_edit(self, said: Said) -> None:
        """A message reads differently now."""

    async def on_redaction(self, room: str, id: str) -> None:
        """A message was taken back."""

    async def say(self, room: str, text: str) -> None:
        content = {"msgtype": "m.notice", "body": text, "m.mentions": {}}
        await self.call("PUT", f"/rooms/{quoted(room)}/send/m.room.message/{uuid.uuid4().hex}", content)

    async def run(self) -> None:
        self.me = (await self.call("GET", "/account/whoami"))["user_id"]
        await self.on_ready()
        # What was said before is not answered.
        since = (await self.call("GET", "/sync", filter=FILTER, timeout="0"))["next_batch"]
        while True:
            news = await self.call("GET", "/sync", filter=FILTER, timeout=str(WAIT_MS), since=since)
            since = news["next_batch"]
            for room, joined in news.get("rooms", {}).get("join", {}).items():
                for part in ("state", "timeline"):
                    for event in joined.get(part, {}).get("events", []):
                        await self.hear_or_pass_over(room, event)

    async def hear_or_pass_over(self, room: str, event: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.hear(room, event)
        except Exception:  # one that makes no sense, or that we may not answer, costs no other
            log.exception("event %s of %s is passed over", event.get("event_id"), room)

    async def hear(self, room: str, event: dict[str, Any]) -> None:
        content = event["content"]
        if event["type"] == "m.room.member":
            self.names[event["state_key"]] = content.get("displayname") or event["state_key"]
        elif event["type"] == "m.room.redaction":
            await self.on_redaction(room, event.get("redacts") or content["redacts"])
        elif event["type"] == "m.room.message" and content.get("msgtype") in WRITTEN:
            relation = content.get("m.relates_to", {})
            if relation.get("rel_type") != "m.replace":
                await self.on_message(self.said(room, event["event_id"], event, content["body"]))
            elif event["sender"] == await self.writer_of(room, relation["event_id"]):  # not just anybody
                text = content["m.new_content"]["body"]
                await self.on_edit(self.said(room, relation["event_id"], event, text))

    def said(self, room: str, id: str, event: dict[str, Any], text: str) -> Said:
        by, at = event["sender"], datetime.fromtimestamp(event["origin_server_ts"] / 1000, UTC)
        is_bots = by == self.me or event["content"]["msgtype"] == "m.notice"
        origin = "agent" if is_bots else "human"
        return Said(room, id, by, self.names.get(by, by), str(text), at, origin)

    async def writer_of(self, room: str, id: str) -> str:
        return str((await self.call("GET", f"/rooms/{quoted(room)}/event/{quoted(id)}"))["sender"])

    async def call(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        """Ask until there is an answer; the same asked twice is done once."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with self.http.request(method, API + path, json=body, params=query) as answer:
                    if answer.status != 429 and answer.status < 500:
                        answer.raise_for_status()
                        return dict(await answer.json())
                    why, wait = f"{answer.status}", asked_to_wait(await answer.read()) or pause
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                why, wait = repr(error), pause
            log.warning("%s %s is asked again in %.1f s: %s", method, path, wait, why)
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)


class Echo(Matrix):
    """Says again what it hears from people."""

    async def on_ready(self) -> None:
        log.info("here as %s", self.me)
        night.connected(self.me)  # +
        self.always_on = asyncio.create_task(self.work())  # +

    async def work(self) -> None:  # +
        async with night:  # +
            async for work in night.work():  # +
                await work.reply(work.instruction)  # +  here a cleverer bot thinks

    async def on_message(self, said: Said) -> None:
        who: dict[str, Any] = {"user_id": said.by, "user_name": said.name, "origin": said.origin}  # +
        await night.observe(said.room, said.id, said.text, at=said.at, **who)  # +
        if said.origin == "human":
            await self.say(said.room, said.text)

    async def on_edit(self, said: Said) -> None:  # +
        await night.edited(said.room, said.id, said.text, at=said.at)  # +

    async def on_redaction(self, room: str, id: str) -> None:  # +
        await night.deleted(room, id)  # +


def quoted(id: str) -> str:
    return quote(id, safe="")


def asked_to_wait(answer: bytes) -> float:
    """For how many seconds the homeserver asks us to wait, if it does."""
    try:
        return float(json.loads(answer)["retry_after_ms"]) / 1000
    except (ValueError, TypeError, KeyError):
        return 0


async def main() -> None:
    headers = {"Authorization": f"Bearer {os.environ['MATRIX_TOKEN']}"}
    async with aiohttp.ClientSession(os.environ["MATRIX_URL"], headers=headers, timeout=TIMEOUT) as http:
        await Echo(http).run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
