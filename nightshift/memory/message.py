"""A message as it is remembered, and what a platform or a bot tells about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from nightshift.base.instants import from_ms
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.channels.audience import merged, seen_by
from nightshift.channels.channel import Channel


class Origin(StrEnum):
    """Where a message comes from; only what people and agents say to each other is worth learning from."""

    HUMAN = "human"
    AGENT = "agent"
    #: The platform's own: somebody joined, something was pinned.
    SYSTEM = "system"
    #: Ours, said because a heartbeat came.
    HEARTBEAT = "heartbeat"
    #: Ours, quoting what was remembered.
    RECALLED = "recalled"


DIALOGUE = frozenset({Origin.HUMAN, Origin.AGENT})


#: Where a message stands in its channel's order: about when it was sent, in milliseconds, and its id.
Place = tuple[float, str]


class MessageKind(StrEnum):
    """What became of a message."""

    NEW = "new"
    EDITED = "edited"
    DELETED = "deleted"


@dataclass(frozen=True)
class Observed:
    """What was seen to happen to a message."""

    kind: MessageKind
    ref: ChannelRef
    id: str
    user_id: str = ""
    user_name: str = ""
    text: str = ""
    #: When it was sent, as the platform says; needed for all that is not yet known.
    at: datetime | None = None
    origin: Origin = Origin.HUMAN
    reply_to: str = ""
    #: When it was last changed, as the platform says.
    edited_at: datetime | None = None


@dataclass(frozen=True)
class Message:
    """One message; of one that was taken back, only that there was one."""

    ref: ChannelRef
    id: str
    user_id: str
    user_name: str
    text: str
    at: datetime
    place: Place
    origin: Origin
    reply_to: str
    edited_at: datetime | None
    deleted: bool
    audience: str
    tenant: str
    #: Whose memory it is in.
    agent: str
    #: We sent it, or our bot did so for us.
    own: bool
    #: How many bytes the text had before it was cut; 0 if it was not.
    cut: int
    #: Another whenever the text changes or goes.
    version: int
    #: The model that its vector is of; empty if it has none.
    embedded: str

    @classmethod
    def from_hash(cls, id: str, row: Mapping[str, str], channel: Channel) -> Self:
        then = row.get("audience", "")
        return cls(
            ref=channel.ref,
            id=id,
            user_id=UserRef.parse(row["by"]).id if row.get("by") else "",
            user_name=row.get("name", ""),
            text=row.get("text", ""),
            at=from_ms(row["at"]),
            place=(float(row["place"]), id),
            origin=Origin(row["origin"]),
            reply_to=row.get("reply_to", ""),
            edited_at=from_ms(row["edited"]) if row.get("edited") else None,
            deleted="deleted" in row,
            # A channel that was made more private since takes along what was said before.
            audience=merged([then if then in seen_by(channel) else str(channel.ref)], channel),
            tenant=channel.tenant,
            agent=channel.agent,
            own="own" in row,
            cut=int(row.get("cut", 0)),
            version=int(row["version"]),
            embedded=row.get("embedded", ""),
        )
