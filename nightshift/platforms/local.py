"""Rooms of our own, kept in the state store: what the console and the demo talk in."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Collection
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Self, cast

from pydantic import BaseModel
from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.base.refs import ChannelRef
from nightshift.platforms.platform import Described, Outgoing, PastMessage, Platform, Readiness, Sent, Server
from nightshift.platforms.text import cut
from nightshift.store.client import text_list, translated
from nightshift.store.keys import Keys

BOT = "nightshift"
LONGEST = 32_768
#: Messages kept of a room, and rooms listed.
MESSAGES, ROOMS = 1000, 500


@cache
def _say_script() -> str:
    return (files("nightshift.platforms") / "say.lua").read_text()


class LocalPlatform(Platform):
    """The rooms of one deployment; the first message makes a room."""

    kind = "local"
    has_history = True
    repeatable_for = timedelta(days=1)

    def __init__(self, name: str, redis: Redis, keys: Keys) -> None:
        self.name = name
        self._redis = redis
        self._keys = keys
        self._script = redis.register_script(_say_script())

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.ground.redis, told.ground.keys)

    async def ready(self) -> Readiness:
        try:
            await cast(Any, self._redis.ping())
        except RedisError as error:
            return Readiness(False, str(translated(error)))
        return Readiness(True, user_id=BOT)

    async def send(self, out: Outgoing) -> Sent:
        said = _Said(user_id=BOT, user_name=BOT, text=out.text, reply_to=out.reply_to, is_bot=True)
        return await self._say(out.channel_id, said, out.key)

    async def say(self, room: str, user: str, text: str, *, reply_to: str = "") -> Sent:
        """Put what a person says into the room."""
        said = _Said(user_id=user, user_name=user, text=text, reply_to=reply_to)
        return await self._say(room, said, f"said-{uuid.uuid4().hex}")

    async def _say(self, room: str, said: _Said, key: str) -> Sent:
        ChannelRef(self.name, room)  # refuses what is no channel's id
        said.text = cut(said.text, LONGEST, measured="utf-8")
        keys = [self._keys.room(room), self._keys.rooms, self._keys.said(key)]
        kept = int(self.repeatable_for.total_seconds())
        id = await self._script(keys=keys, args=[room, said.model_dump_json(), MESSAGES, kept])
        return Sent(id, _at(id))

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        said = await self._said(self._redis.xrevrange(self._keys.room(channel_id), count=limit))
        return [_past(id, each) for id, each in reversed(said)]

    async def servers_and_channels(self) -> list[Server]:
        """The rooms, most recently used first."""
        rooms = await text_list(self._redis.zrevrange(self._keys.rooms, 0, ROOMS - 1))
        return [Server(room, room) for room in rooms]

    async def forget_room(self, room: str) -> None:
        """Remove a room and all that was said in it."""
        await self._redis.delete(self._keys.room(room))
        await self._redis.zrem(self._keys.rooms, room)

    async def forget_user(self, user: str, rooms: Collection[str] = (), *, dry_run: bool = False) -> int:
        """
        Remove what this person said in any room, and what we said there; how many messages that were.

        ``rooms``: where else they have spoken. What we say may quote them.
        """
        gone = 0
        async for room, _ in self._redis.zscan_iter(self._keys.rooms):
            key = self._keys.room(room)
            said = await self._said(self._redis.xrange(key))
            spoke = room in rooms or any(each.user_id == user for _, each in said)
            going = [id for id, each in said if each.user_id == user or (spoke and each.is_bot)]
            if going and not dry_run:
                await self._redis.xdel(key, *going)
            gone += len(going)
        return gone

    async def _said(self, entries: Awaitable[Any]) -> list[tuple[str, _Said]]:
        return [(id, _Said.model_validate_json(fields["said"])) for id, fields in await entries]

    async def close(self) -> None:
        """The store's client is not ours to close."""


class _Said(BaseModel):
    """One message, as the room's stream keeps it."""

    user_id: str
    user_name: str
    text: str
    reply_to: str = ""
    is_bot: bool = False


def _at(id: str) -> datetime:
    """When a stream's entry was made, which is the first part of its id."""
    return datetime.fromtimestamp(int(id.split("-")[0]) / 1000, UTC)


def _past(id: str, said: _Said) -> PastMessage:
    return PastMessage(
        id, said.user_id, said.user_name, said.text, _at(id), reply_to=said.reply_to, is_bot=said.is_bot
    )
