"""A channel as it is known: what it is called, whose it is, and what people have set for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from nightshift.base.instants import from_ms
from nightshift.base.refs import ChannelRef

#: The quiet hours of a channel that has none, whatever its agent's are.
NEVER = "never"


@dataclass(frozen=True)
class SeenChannel:
    """What its platform calls a channel, and what it belongs to."""

    ref: ChannelRef
    name: str = ""
    server_id: str = ""
    server_name: str = ""
    is_dm: bool = False
    members: int | None = None


@dataclass(frozen=True)
class Channel(SeenChannel):
    """One channel; what nobody has told is empty."""

    tenant: str = "default"
    agent: str = "default"
    #: Who else may come to know what is said here, as set by a person; see ``channels.audience``.
    audience: str = ""
    #: Who paused it, so that no heartbeat comes.
    paused_by: str = ""
    #: HH:MM-HH:MM in the agent's zone, or NEVER; the agent's own if unset.
    quiet_hours: str = ""
    last_message_at: datetime | None = None
    last_human_at: datetime | None = None
    #: Another as soon as people or other agents say, change or take back something.
    digest: str = "0"

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or self.ref.id

    @classmethod
    def from_hash(cls, row: Mapping[str, str]) -> Self:
        def instant(name: str) -> datetime | None:
            return from_ms(row[name]) if row.get(name, "0") != "0" else None

        return cls(
            ref=ChannelRef(row["platform"], row["id"]),
            name=row.get("name", ""),
            server_id=row.get("server_id", ""),
            server_name=row.get("server_name", ""),
            is_dm=row.get("is_dm") == "1",
            members=int(row["members"]) if row.get("members") else None,
            tenant=row["tenant"],
            agent=row["agent"],
            audience=row.get("audience", ""),
            paused_by=row.get("paused_by", ""),
            quiet_hours=row.get("quiet_hours", ""),
            last_message_at=instant("last_message_at"),
            last_human_at=instant("last_human_at"),
            digest=row.get("digest", "0"),
        )
