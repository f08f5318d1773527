"""Telegram, through its Bot API, which tells bots of no rooms and of nothing that was written before."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, TypeAdapter

from nightshift.base.errors import RefusedByPlatform, SendUnknown
from nightshift.platforms.endpoint import Endpoint
from nightshift.platforms.platform import Described, Need, Outgoing, Platform, Readiness, Sent, readiness
from nightshift.platforms.text import cut

API = "https://api.telegram.org"
LONGEST = 4096
#: Nothing that is seen, but no name follows the @ any more, so nobody is notified.
MENTION, APART = re.compile(r"@(?=\w)"), "@\N{WORD JOINER}"


class TelegramPlatform(Platform):
    """One bot of Telegram."""

    kind = "telegram"
    needs = (Need("token", "the bot's token"),)
    lacks = "it tells bots of no channels and of no past messages"
    #: Telegram takes no key.
    repeatable_for = timedelta(0)

    def __init__(self, name: str, token: Callable[[], str], url: str = API, *, token_in: str = "") -> None:
        self.name = name
        self._token = token
        self._api = Endpoint(name, url, token_in=token_in, reuse=False)

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.token, told.url or API, token_in=told.token_in)

    async def ready(self) -> Readiness:
        return await readiness(self._own_id(), lacks=self.lacks)

    async def _own_id(self) -> str:
        return str((await self._api.ask(_ME, "GET", *self._method("getMe"))).result.id)

    async def send(self, out: Outgoing) -> Sent:
        body: dict[str, Any] = {
            "chat_id": out.channel_id,
            "text": cut(MENTION.sub(APART, out.text), LONGEST),
        }
        if out.reply_to:
            if not out.reply_to.isdecimal():
                raise RefusedByPlatform(f"{self.name} has no message {out.reply_to!r} to reply to")
            body["reply_parameters"] = {
                "message_id": int(out.reply_to),
                "allow_sending_without_reply": True,
            }
        path = self._method("sendMessage")
        sent = (await self._api.ask(_SENT, "POST", *path, body=body, unclear=SendUnknown)).result
        if not out.channel_id.startswith("@") and str(sent.chat.id) != out.channel_id:
            raise SendUnknown(f"{self.name} answered with a message of another channel")
        return Sent(str(sent.message_id), datetime.fromtimestamp(sent.date, UTC))

    def _method(self, name: str) -> tuple[str, str]:
        return f"bot{self._token()}", name

    async def close(self) -> None:
        await self._api.close()


class _Id(BaseModel):
    id: int


class _Me(BaseModel):
    result: _Id


class _Message(BaseModel):
    message_id: int
    #: Seconds since 1970, up to the year 9999.
    date: Annotated[int, Field(ge=0, le=253402300799)]
    chat: _Id


class _Sent(BaseModel):
    result: _Message


_ME = TypeAdapter(_Me)
_SENT = TypeAdapter(_Sent)
