"""What a channel is called, wherever a name for it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from nightshift.errors import BadQuery

PLATFORM = re.compile(r"[a-z][a-z0-9_-]{0,31}")
LONGEST_ID = 255


@dataclass(frozen=True, order=True)
class ChannelRef:
    """A platform as it is called in the settings, and the channel's id there."""

    platform: str
    id: str

    def __post_init__(self) -> None:
        if not PLATFORM.fullmatch(self.platform):
            raise BadQuery(
                f"{self.platform!r} is no platform's name: lower-case letters, digits, _ and -, 32 at most"
            )
        if not 0 < len(self.id) <= LONGEST_ID or not self.id.isprintable():
            raise BadQuery(
                f"{self.id[:LONGEST_ID]!r} is no channel's id: 1 to {LONGEST_ID} visible characters"
            )

    def __str__(self) -> str:
        # Ids of channels may hold what separates names here, or stands for something in a key.
        return f"{self.platform}:{quote(self.id, safe='')}"

    @classmethod
    def parse(cls, text: str) -> Self:
        platform, colon, id = text.partition(":")
        if not colon:
            raise BadQuery(f"{text!r} names no channel; channels are called PLATFORM:ID, as in discord:1234")
        return cls(platform, unquote(id))
