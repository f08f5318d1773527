"""Discord, through its HTTP API; the bot needs the message content intent to see what people write."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, TypeAdapter

import nightshift
from nightshift.base.errors import PlatformDown
from nightshift.platforms.buckets import Buckets
from nightshift.platforms.endpoint import Endpoint, Id
from nightshift.platforms.platform import (
    Described,
    Need,
    Outgoing,
    PastMessage,
    Platform,
    PlatformChannel,
    Readiness,
    Sent,
    Server,
    readiness,
)
from nightshift.platforms.text import cut

API = "https://discord.com/api/v10"
#: Whoever does not say so is turned away before the API is reached.
USER_AGENT = f"DiscordBot (https://nightshift.invalid, {nightshift.__version__})"
LONGEST = 2000
LONGEST_NONCE = 25
#: Messages, and guilds, of one page; pages read at most.
MESSAGES, GUILDS, PAGES = 100, 200, 10
TEXT_CHANNEL = 0
#: What somebody wrote: a message, a reply, an answer to a command. The rest says who joined and such.
WRITTEN = (0, 19, 20, 23)


class DiscordPlatform(Platform):
    """One bot user of Discord."""

    kind = "discord"
    needs = (Need("token", "the bot's token"),)
    has_history = True
    servers_hold_channels = True
    #: Discord knows a nonce for "the past few minutes".
    repeatable_for = timedelta(minutes=2)

    def __init__(self, name: str, token: Callable[[], str], url: str = API, *, token_in: str = "") -> None:
        self.name = name
        self._buckets = Buckets()
        self._api = Endpoint(
            name,
            url,
            lambda: {"Authorization": f"Bot {token()}", "User-Agent": USER_AGENT},
            token_in=token_in,
            learn=self._buckets.learn,
        )

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.token, told.url or API, token_in=told.token_in)

    async def ready(self) -> Readiness:
        return await readiness(self._own_id())

    async def _own_id(self) -> str:
        return (await self._ask(_USER, "GET", "users", "@me")).id

    async def send(self, out: Outgoing) -> Sent:
        body: dict[str, Any] = {
            "content": cut(out.text, LONGEST),
            "nonce": hashlib.sha256(out.key.encode()).hexdigest()[:LONGEST_NONCE],
            "enforce_nonce": True,
            "allowed_mentions": {"parse": []},
        }
        if out.reply_to:
            body["message_reference"] = {"message_id": out.reply_to, "fail_if_not_exists": False}
        path = ("channels", out.channel_id, "messages")
        sent = self._of_channel(await self._ask(_MESSAGE, "POST", *path, body=body), out.channel_id)
        return Sent(sent.id, sent.timestamp)

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        found: list[_Message] = []
        while len(found) < limit:
            size = min(limit - len(found), MESSAGES)
            query = {"limit": str(size)} | ({"before": found[-1].id} if found else {})
            page = await self._ask(_MESSAGES, "GET", "channels", channel_id, "messages", query=query)
            found += [self._of_channel(message, channel_id) for message in page]
            if len(page) < size:
                break
        return [_past(message) for message in found[:limit][::-1] if message.type in WRITTEN]

    def _of_channel(self, message: _Message, channel_id: str) -> _Message:
        if message.channel_id != channel_id:
            raise PlatformDown(f"{self.name} answered with a message of another channel")
        return message

    async def servers_and_channels(self) -> list[Server]:
        servers = []
        for guild in await self._guilds():
            channels = await self._ask(_CHANNELS, "GET", "guilds", guild.id, "channels")
            texts = (each for each in channels if each.type == TEXT_CHANNEL)
            servers.append(
                Server(
                    guild.id,
                    guild.name,
                    guild.approximate_member_count,
                    tuple(PlatformChannel(each.id, each.name or "") for each in texts),
                )
            )
        return servers

    async def _guilds(self) -> list[_Guild]:
        found: list[_Guild] = []
        for _ in range(PAGES):
            query = {"limit": str(GUILDS), "with_counts": "true"} | ({"after": found[-1].id} if found else {})
            page = await self._ask(_GUILDS, "GET", "users", "@me", "guilds", query=query)
            found += page
            if len(page) < GUILDS:
                break
        return found

    async def _ask[T](
        self,
        shape: TypeAdapter[T],
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        await self._buckets.take("/".join([method, *path]))
        return await self._api.ask(shape, method, *path, query=query, body=body)

    async def close(self) -> None:
        await self._api.close()


class _User(BaseModel):
    id: Id
    username: str
    global_name: str | None = None
    bot: bool = False


class _Reference(BaseModel):
    message_id: str | None = None


class _Message(BaseModel):
    id: Id
    channel_id: Id
    author: _User
    content: str
    timestamp: AwareDatetime
    edited_timestamp: AwareDatetime | None = None
    type: int = 0
    message_reference: _Reference | None = None


class _Guild(BaseModel):
    id: Id
    name: str
    approximate_member_count: int | None = None


class _Channel(BaseModel):
    id: Id
    type: int
    name: str | None = None


_USER = TypeAdapter(_User)
_MESSAGE = TypeAdapter(_Message)
_MESSAGES = TypeAdapter(list[_Message])
_GUILDS = TypeAdapter(list[_Guild])
_CHANNELS = TypeAdapter(list[_Channel])


def _past(message: _Message) -> PastMessage:
    author = message.author
    return PastMessage(
        message_id=message.id,
        user_id=author.id,
        user_name=author.global_name or author.username,
        text=message.content,
        at=message.timestamp,
        reply_to=(message.message_reference and message.message_reference.message_id) or "",
        is_bot=author.bot,
        edited_at=message.edited_timestamp,
    )
