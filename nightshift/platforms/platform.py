"""What nightshift asks of a chat platform, and the words of the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from nightshift.base.errors import NightshiftError

if TYPE_CHECKING:
    from nightshift.store.ground import Ground  # 0.2 s, for whoever makes one


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


@dataclass(frozen=True)
class Need:
    """What ``[platforms.NAME]`` has to say of a kind of platform, in the words in which it is asked for."""

    setting: Literal["url", "token"]
    words: str

    @property
    def is_secret(self) -> bool:
        """Whether it is typed unseen and may be in a file of its own."""
        return self.setting == "token"


@dataclass(frozen=True)
class Described:
    """A platform as the settings describe it."""

    name: str
    #: Empty: where all of its kind are.
    url: str
    #: Reads the token each time it is used, and refuses one that is none.
    token: Callable[[], str]
    #: Where whoever must replace the token finds it.
    token_in: str
    #: The store, for a kind that keeps what is said itself.
    ground: Ground


class Platform(ABC):
    """
    A chat platform, by the name it has in the settings.

    A kind of platform is a class in a file of this folder that is called like the kind. Whatever settings,
    ``init``, backfill and the page about platforms have to know of a kind is in its class.
    """

    name: str

    kind: ClassVar[str]
    #: What the settings must say of it.
    needs: ClassVar[tuple[Need, ...]] = ()
    #: The extra of ours that has to be installed for it.
    extra: ClassVar[str] = ""
    #: Whether it shows bots what was said before they came.
    has_history: ClassVar[bool] = False
    #: Whether its servers hold channels, so that one without any is not a channel itself.
    servers_hold_channels: ClassVar[bool] = False
    #: What even one that is ready cannot do.
    lacks: ClassVar[str] = ""
    #: For how long the other side knows a key again, and makes what is sent twice once. Zero: not at all.
    repeatable_for: ClassVar[timedelta] = timedelta(0)

    @classmethod
    @abstractmethod
    def made(cls, told: Described) -> Self:
        """The platform that is described so; nothing is asked of it yet."""

    @property
    def repeatable(self) -> bool:
        """Whether a send of which nobody knows how it ended may be made again, at least for a while."""
        return self.repeatable_for > timedelta(0)

    @abstractmethod
    async def ready(self) -> Readiness:
        """Ask who we are there. Never raises."""

    @abstractmethod
    async def send(self, out: Outgoing) -> Sent:
        """
        Send a message.

        Raises RateLimited or NotTaken, after which it may be sent again; PlatformDown, after which it may
        while the key is known; SendUnknown, after which it may not; RefusedByPlatform, after which it need
        not.
        """

    async def history(self, channel_id: str, *, limit: int) -> list[PastMessage]:
        """
        The channel's last messages, oldest first; none if the platform shows bots no past.

        Those that were taken back are among them where the platform tells of them, and do not count.
        """
        return []

    async def servers_and_channels(self) -> list[Server]:
        """Where the bot is; nothing if the platform does not say."""
        return []

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connections."""


async def readiness(asking: Awaitable[str], *, lacks: str = "") -> Readiness:
    """Ready if this tells the bot's user id; else why not."""
    try:
        return Readiness(True, lacks, await asking)
    except NightshiftError as error:
        return Readiness(False, str(error))
