"""What nightshift asks of a chat platform, and the words of the answers."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from nightshift.base.errors import NightshiftError


@dataclass(frozen=True)
class Outgoing:
    """A message to be sent; the same key means the same message."""

    channel_id: str
    text: str
    key: str
    reply_to: str = ""


@dataclass(frozen=True)
class Sent:
    """What the platform calls the message it took, and when it took it."""

    message_id: str
    at: datetime


@dataclass(frozen=True)
class PastMessage:
    """A message as it now stands in a channel; whoever wrote it chose every word and every name."""

    message_id: str
    user_id: str
    user_name: str
    text: str
    at: datetime
    reply_to: str = ""
    is_bot: bool = False
    edited_at: datetime | None = None
    #: It was taken back since, and nothing of its text is left.
    taken_back: bool = False


@dataclass(frozen=True)
class PlatformChannel:
    """A channel of text inside a server."""

    id: str
    name: str


@dataclass(frozen=True)
class Server:
    """
    A server with its channels of text, or a room that is a channel itself.

    A room has no channels: its own id is the channel's.
    """

    id: str
    name: str
    member_count: int | None = None
    channels: tuple[PlatformChannel, ...] = ()
    is_dm: bool = False


@dataclass(frozen=True)
class Readiness:
    """Whether the platform would serve us now; ``why`` also says what a ready one cannot do."""

    ready: bool
    why: str = ""
    #: The bot's own, as its messages bear it.
    user_id: str = ""


class Platform(Protocol):
    """A chat platform, by the name it has in the settings."""

    name: str
    kind: str
    #: For how long the other side knows a key again, and makes what is sent twice once. Zero: not at all.
    repeatable_for: timedelta

    @property
    def repeatable(self) -> bool:
        """Whether a send of which nobody knows how it ended may be made again, at least for a while."""
        return self.repeatable_for > timedelta(0)

    async def ready(self) -> Readiness:
        """Ask who we are there. Never raises."""
        ...

    async def send(self, out: Outgoing) -> Sent:
        """
        Send a message.

        Raises RateLimited or NotTaken, after which it may be sent again; PlatformDown, after which it may
        while the key is known; SendUnknown, after which it may not; RefusedByPlatform, after which it need
        not.
        """
        ...

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        """
        The channel's last messages, oldest first; none if the platform shows bots no past.

        Those that were taken back are among them where the platform tells of them, and do not count.
        """
        ...

    async def servers_and_channels(self) -> list[Server]:
        """Where the bot is; nothing if the platform does not say."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


async def readiness(asking: Awaitable[str], *, lacks: str = "") -> Readiness:
    """Ready if this tells the bot's user id; else why not."""
    try:
        return Readiness(True, lacks, await asking)
    except NightshiftError as error:
        return Readiness(False, str(error))
