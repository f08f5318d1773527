"""What channels and their users are called, wherever a name for them is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self
from urllib.parse import quote, unquote

from nightshift.base.errors import BadQuery

PLATFORM = re.compile(r"[a-z][a-z0-9_-]{0,31}")
LONGEST_ID = 255
#: What a name becomes at the most, as a character may be four bytes, each of them percent-encoded.
LONGEST_REF = 32 + len(":") + LONGEST_ID * 4 * len("%FF")


def is_id(text: str) -> bool:
    """Whether a platform may call something by this."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable()


@dataclass(frozen=True, order=True)
class _Ref:
    """A platform as it is called in the settings, and an id there."""

    platform: str
    id: str
    NOUN: ClassVar[str]

    def __post_init__(self) -> None:
        if not PLATFORM.fullmatch(self.platform):
            raise BadQuery(
                f"{self.platform!r} is no platform's name: lower-case letters, digits, _ and -, 32 at most"
            )
        if not is_id(self.id):
            raise BadQuery(
                f"{self.id[:LONGEST_ID]!r} is no {self.NOUN}'s id: 1 to {LONGEST_ID} visible characters"
            )

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        # Ids may hold what separates names here, or stands for something in a key.
        return f"{self.platform}:{quote(self.id, safe='')}"

    @classmethod
    def parse(cls, text: str) -> Self:
        platform, colon, id = text.partition(":")
        if not colon:
            raise BadQuery(
                f"{text!r} names no {cls.NOUN}; {cls.NOUN}s are called PLATFORM:ID, as in discord:1234"
            )
        return cls(platform, unquote(id))


class ChannelRef(_Ref):
    """A channel: where people and agents talk."""

    NOUN = "channel"


class UserRef(_Ref):
    """Somebody who talks there, as a person or as an agent."""

    NOUN = "user"
