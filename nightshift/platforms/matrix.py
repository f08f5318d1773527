"""
Matrix, through any homeserver's client-server API.

The bot is where it was let in: an invitation stays one until its owner accepts it. What is encrypted end to
end is not read, and nothing is sent there, since it would go in the clear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from nightshift.base.errors import MissingOnPlatform, RefusedByPlatform
from nightshift.platforms.endpoint import Endpoint, Id
from nightshift.platforms.platform import (
    Described,
    Need,
    Outgoing,
    PastMessage,
    Platform,
    Readiness,
    Sent,
    Server,
    readiness,
)
from nightshift.platforms.text import cut

#: An event is 64 KB at most, and JSON may write a character as two.
LONGEST = 30_000
#: Pages of history read at most for one answer: edits, which are no messages of their own, fill them too.
PAGES, PAGE = 10, 100
WRITTEN = ("m.text", "m.notice", "m.emote")
NOTHING = {"not_types": ["*"]}
MESSAGE, ENCRYPTION = "m.room.message", "m.room.encryption"
#: Of all that a sync tells: what each room is called, how many are in it, and whether they encrypt.
ROOMS_ONLY = {
    "presence": NOTHING,
    "account_data": NOTHING,
    "room": {
        "account_data": NOTHING,
        "ephemeral": NOTHING,
        "timeline": {"limit": 1, **NOTHING},
        "state": {
            "types": ["m.room.name", "m.room.canonical_alias", "m.room.create", ENCRYPTION],
            "lazy_load_members": True,
        },
    },
}
MESSAGES_ONLY = {"types": [MESSAGE], "lazy_load_members": True}
SPACE = "m.space"
#: A room of so many members is a conversation of two.
PAIR = 2


class MatrixPlatform(Platform):
    """A homeserver and one user of it, who is the bot."""

    kind = "matrix"
    needs = (Need("url", "the homeserver"), Need("token", "an access token of the bot's account"))
    has_history = True
    #: As long as Synapse surely keeps a transaction id across restarts.
    repeatable_for = timedelta(hours=23)

    def __init__(self, name: str, url: str, token: Callable[[], str], *, token_in: str = "") -> None:
        self.name = name
        self._api = Endpoint(
            name,
            f"{url.rstrip('/')}/_matrix/client/v3",
            lambda: {"Authorization": f"Bearer {token()}"},
            token_in=token_in,
        )

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.url, told.token, token_in=told.token_in)

    async def ready(self) -> Readiness:
        return await readiness(self._own_id())

    async def _own_id(self) -> str:
        return (await self._api.ask(_WHOAMI, "GET", "account", "whoami")).user_id

    async def send(self, out: Outgoing) -> Sent:
        content: dict[str, Any] = {
            "msgtype": "m.text",
            "body": cut(out.text, LONGEST, measured="utf-8"),
            "m.mentions": {},  # named or not, nobody is notified
        }
        if out.reply_to:
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": out.reply_to}}
        if await self._is_encrypted(out.channel_id):
            raise RefusedByPlatform(
                f"{out.channel_id} is encrypted end to end, and what we send would not be; "
                'set delivers = "bot" for its agent, so that the bot itself speaks there'
            )
        path = ("rooms", out.channel_id, "send", MESSAGE, out.key)
        sent = await self._api.ask(_SENT, "PUT", *path, body=content)
        return Sent(sent.event_id, datetime.now(UTC))

    async def _is_encrypted(self, room: str) -> bool:
        """Whether it is now: any room may come to be so at any time."""
        try:
            await self._api.call("GET", "rooms", room, "state", ENCRYPTION)
        except MissingOnPlatform:
            return False
        return True

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        own = await self._own_id()
        past = _Past(own, limit)
        query = {"dir": "b", "limit": str(PAGE), "filter": json.dumps(MESSAGES_ONLY)}
        for _ in range(PAGES):
            page = await self._api.ask(_PAGE, "GET", "rooms", channel_id, "messages", query=query)
            past.read(page)
            if page.end is None or past.is_whole:
                break
            query["from"] = page.end
        return past.messages[::-1]

    async def servers_and_channels(self) -> list[Server]:
        """The rooms in which something can be read and said."""
        query = {"timeout": "0", "filter": json.dumps(ROOMS_ONLY)}
        synced = await self._api.ask(_SYNCED, "GET", "sync", query=query)
        rooms = [(id, room, _told(room.state.events)) for id, room in synced.rooms.join.items()]
        return [
            Server(id, _room_name(room, told), room.summary.members, is_dm=room.is_pair)
            for id, room, told in rooms
            if ENCRYPTION not in told and told.get("m.room.create", {}).get("type") != SPACE
        ]

    async def close(self) -> None:
        await self._api.close()


# What the homeserver answers. The content of an event is whatever its sender wrote: one that makes no sense
# is passed over, and no more than that.


class _Whoami(BaseModel):
    user_id: Id


class _EventId(BaseModel):
    event_id: Id


class _Relation(BaseModel):
    rel_type: str | None = None
    event_id: str | None = None
    in_reply_to: _EventId | None = Field(None, alias="m.in_reply_to")


class _Content(BaseModel):
    msgtype: str
    body: str
    new_content: _Content | None = Field(None, alias="m.new_content")
    relates_to: _Relation = Field(_Relation(), alias="m.relates_to")


class _Event(BaseModel):
    event_id: Id
    sender: Id
    #: Milliseconds since 1970, up to the year 9999.
    origin_server_ts: Annotated[int, Field(ge=0, le=253402300799999)]

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.origin_server_ts / 1000, UTC)


class _Message(_Event):
    content: _Content


class _Page(BaseModel):
    chunk: list[Any]
    state: list[Any] = []
    end: str | None = None


class _Summary(BaseModel):
    members: int | None = Field(None, alias="m.joined_member_count", ge=0)
    heroes: list[str] = Field([], alias="m.heroes")


class _State(BaseModel):
    events: list[Any] = []


class _Room(BaseModel):
    summary: _Summary = _Summary()
    state: _State = _State()

    @property
    def is_pair(self) -> bool:
        return self.summary.members is not None and self.summary.members <= PAIR


class _Rooms(BaseModel):
    join: dict[Id, _Room] = {}


class _Synced(BaseModel):
    rooms: _Rooms = _Rooms()


_WHOAMI = TypeAdapter(_Whoami)
_SENT = TypeAdapter(_EventId)
_PAGE = TypeAdapter(_Page)
_SYNCED = TypeAdapter(_Synced)


class _Past:
    """Messages as they now stand, newest first, read backwards: an edit is met before what it edits."""

    def __init__(self, own_id: str, limit: int) -> None:
        self.messages: list[PastMessage] = []
        self._own_id = own_id
        #: How many more there may be, without those that were taken back.
        self._room = limit
        self._edits: dict[tuple[str, str], _Message] = {}
        self._names: dict[str, str] = {}

    @property
    def is_whole(self) -> bool:
        return self._room <= 0

    def read(self, page: _Page) -> None:
        for event in page.state:
            content = _content_of(event, "m.room.member")
            if isinstance(name := content.get("displayname"), str) and name:
                self._names[str(event.get("state_key"))] = name
        for event in page.chunk:
            if self.is_whole:
                break
            with suppress(ValidationError):  # nonsense
                if _is_redacted(event):
                    self._take_redacted(_Event.model_validate(event))
                else:
                    self._take(_Message.model_validate(event))

    def _take_redacted(self, event: _Event) -> None:
        self.messages.append(
            PastMessage(
                message_id=event.event_id,
                user_id=event.sender,
                user_name=self._name(event.sender),
                text="",
                at=event.at,
                is_bot=event.sender == self._own_id,
                taken_back=True,
            )
        )

    def _take(self, message: _Message) -> None:
        relation = message.content.relates_to
        if relation.rel_type == "m.replace":
            # Whoever else claims to edit it changes nothing; of several edits the newest holds.
            self._edits.setdefault((message.sender, relation.event_id or ""), message)
            return
        edit = self._edits.get((message.sender, message.event_id))
        content = (edit.content.new_content if edit else None) or message.content
        if content.msgtype not in WRITTEN:
            return
        self._room -= 1
        replied = relation.in_reply_to.event_id if relation.in_reply_to else ""
        self.messages.append(
            PastMessage(
                message_id=message.event_id,
                user_id=message.sender,
                user_name=self._name(message.sender),
                text=_without_quote(content.body) if replied and not edit else content.body,
                at=message.at,
                reply_to=replied,
                # Notices are what only bots write.
                is_bot=message.sender == self._own_id or content.msgtype == "m.notice",
                edited_at=edit.at if edit else None,
            )
        )

    def _name(self, user: str) -> str:
        return self._names.get(user, user)


def _without_quote(body: str) -> str:
    """The text of a reply without the lines of the other message that older clients put before it."""
    quote, gap, text = body.partition("\n\n")
    return text if gap and all(line.startswith("> ") for line in quote.split("\n")) else body


def _is_redacted(event: object) -> bool:
    """Whether it was a message before the homeserver took out what was in it."""
    if not isinstance(event, dict) or event.get("type") != MESSAGE:
        return False
    unsigned = event.get("unsigned")
    told = isinstance(unsigned, dict) and "redacted_because" in unsigned
    return told or event.get("content") == {}


def _content_of(event: object, type: str) -> Mapping[str, Any]:
    """The content of an event of this type, nothing if it is another or makes no sense."""
    if not isinstance(event, dict) or event.get("type") != type:
        return {}
    content = event.get("content")
    return content if isinstance(content, dict) else {}


def _told(events: Sequence[object]) -> Mapping[str, Mapping[str, Any]]:
    """What the state of a room says, by type of event."""
    types = {str(event.get("type")): event for event in events if isinstance(event, dict)}
    return {type: _content_of(event, type) for type, event in types.items()}


def _room_name(room: _Room, told: Mapping[str, Mapping[str, Any]]) -> str:
    """What people call the room: its name, its address, or else who is in it."""
    named = told.get("m.room.name", {}).get("name"), told.get("m.room.canonical_alias", {}).get("alias")
    return next((each for each in named if isinstance(each, str) and each), ", ".join(room.summary.heroes))
