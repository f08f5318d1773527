"""Slack, through its Web API, which tells of messages who wrote them but not what they are called."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from nightshift.base.errors import (
    NightshiftError,
    NotTaken,
    PlatformDown,
    RateLimited,
    RefusedByPlatform,
    SendUnknown,
)
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

API = "https://slack.com/api"
LONGEST = 4000
MESSAGES, CONVERSATIONS, PAGES = 100, 200, 10
KINDS = "public_channel,private_channel,mpim,im"
#: What people and bots wrote; the other subtypes say that somebody joined and such.
WRITTEN = (None, "bot_message", "thread_broadcast", "me_message")
#: What an answer of 200 may say instead of a status.
TOKEN_REFUSED = ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive")
NOBODY_KNOWS = ("fatal_error", "internal_error", "request_timeout")


class SlackPlatform(Platform):
    """One bot user of a workspace."""

    kind = "slack"
    needs = (Need("token", "a bot token, `xoxb-…`"),)
    has_history = True
    servers_hold_channels = True
    #: Slack documents no key for messages.
    repeatable_for = timedelta(0)

    def __init__(self, name: str, token: Callable[[], str], url: str = API, *, token_in: str = "") -> None:
        self.name = name
        self._api = Endpoint(
            name,
            url,
            lambda: {"Authorization": f"Bearer {token()}"},
            token_in=token_in,
            reuse=False,
        )

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.token, told.url or API, token_in=told.token_in)

    async def ready(self) -> Readiness:
        return await readiness(self._own_id())

    async def _own_id(self) -> str:
        return (await self._ask(_IDENTITY, "GET", "auth.test")).user_id

    async def send(self, out: Outgoing) -> Sent:
        # Escaped as Slack asks, so that no name in it notifies anybody.
        body = {"channel": out.channel_id, "text": html.escape(cut(out.text, LONGEST), quote=False)}
        if out.reply_to:
            body["thread_ts"] = out.reply_to
        sent = await self._ask(_POSTED, "POST", "chat.postMessage", body=body, unclear=SendUnknown)
        return Sent(sent.ts, _at(sent.ts))

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        found: list[_Message] = []
        query = {"channel": channel_id}
        while len(found) < limit:
            query["limit"] = str(min(limit - len(found), MESSAGES))
            page = await self._ask(_HISTORY, "GET", "conversations.history", query=query)
            found += page.messages
            if not page.messages or not page.cursor:
                break
            query["cursor"] = page.cursor
        return [_past(message) for message in found[:limit][::-1] if message.subtype in WRITTEN]

    async def servers_and_channels(self) -> list[Server]:
        identity = await self._ask(_IDENTITY, "GET", "auth.test")
        rooms = await self._rooms()
        channels = tuple(PlatformChannel(room.id, room.name) for room in rooms if room.is_member)
        pairs = [Server(room.id, room.user, 2, is_dm=True) for room in rooms if room.is_im]
        return [Server(identity.team_id, identity.team, None, channels), *pairs]

    async def _rooms(self) -> list[_Room]:
        found: list[_Room] = []
        query = {"types": KINDS, "exclude_archived": "true", "limit": str(CONVERSATIONS)}
        for _ in range(PAGES):
            page = await self._ask(_ROOMS, "GET", "conversations.list", query=query)
            found += page.channels
            if not page.cursor:
                break
            query["cursor"] = page.cursor
        return found

    async def _ask[T](
        self,
        shape: TypeAdapter[T],
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        unclear: Callable[[str], NightshiftError] = PlatformDown,
    ) -> T:
        """Ask; Slack's own ``ok`` comes before the shape of the rest."""
        answer = await self._api.ask(_ANSWER, method, path, query=query, body=body, unclear=unclear)
        error = answer.get("error")
        if answer.get("ok") is False and isinstance(error, str):
            raise self._refusal(error, unclear)
        try:
            return shape.validate_python(answer)
        except ValidationError:
            raise unclear(f"{self.name} answered with what makes no sense") from None

    def _refusal(self, error: str, unclear: Callable[[str], NightshiftError]) -> NightshiftError:
        says = f"{self.name} answered {error[:100]!r}"
        if error in TOKEN_REFUSED:
            return NotTaken(f"{says}; check the token in {self._api.token_in}")
        if error in NOBODY_KNOWS:
            return unclear(says)
        if error == "service_unavailable":
            return PlatformDown(says)
        return RateLimited(says) if error == "ratelimited" else RefusedByPlatform(says)

    async def close(self) -> None:
        await self._api.close()


#: Seconds since 1970, which is also what Slack calls a message.
_Stamp = Annotated[str, StringConstraints(pattern=r"^\d{10}\.\d{6}$")]


class _Identity(BaseModel):
    user_id: Id
    team_id: Id
    team: str


class _Posted(BaseModel):
    ts: _Stamp


class _Edited(BaseModel):
    ts: _Stamp


class _Message(BaseModel):
    ts: _Stamp
    text: str = ""
    user: str = ""
    username: str = ""
    bot_id: str = ""
    subtype: str | None = None
    thread_ts: str = ""
    edited: _Edited | None = None


class _Next(BaseModel):
    next_cursor: str = ""


class _Paged(BaseModel):
    response_metadata: _Next = Field(default_factory=_Next)

    @property
    def cursor(self) -> str:
        return self.response_metadata.next_cursor


class _History(_Paged):
    messages: list[_Message]


class _Room(BaseModel):
    id: Id
    name: str = ""
    #: The other side of a conversation of two.
    user: str = ""
    is_im: bool = False
    is_member: bool = False


class _Rooms(_Paged):
    channels: list[_Room]


_ANSWER = TypeAdapter(dict[str, Any])
_IDENTITY = TypeAdapter(_Identity)
_POSTED = TypeAdapter(_Posted)
_HISTORY = TypeAdapter(_History)
_ROOMS = TypeAdapter(_Rooms)


def _at(stamp: str) -> datetime:
    return datetime.fromtimestamp(float(stamp), UTC)


def _past(message: _Message) -> PastMessage:
    writer = message.user or message.bot_id
    return PastMessage(
        message_id=message.ts,
        user_id=writer,
        user_name=message.username or writer,
        text=html.unescape(message.text),
        at=_at(message.ts),
        reply_to=message.thread_ts if message.thread_ts != message.ts else "",
        is_bot=bool(message.bot_id),
        edited_at=_at(message.edited.ts) if message.edited else None,
    )
