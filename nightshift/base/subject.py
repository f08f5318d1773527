"""Whom or what to forget, and what whoever knows something of it offers for that."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from nightshift.base.refs import ChannelRef, UserRef

#: What an id may go on with, as references are written.
MORE = r"[A-Za-z0-9_.~%-]"


@dataclass(frozen=True)
class Subject:
    """A user, or a channel, and where traces of it may be."""

    ref: UserRef | ChannelRef
    #: The channel itself, or those in which the user has spoken.
    channels: tuple[ChannelRef, ...]

    def mentioned_in(self, texts: Iterable[str]) -> bool:
        """Whether one of these names it, or one of its channels."""
        return any(self._names.search(text) for text in texts)

    @cached_property
    def _names(self) -> re.Pattern[str]:
        names = "|".join(re.escape(str(each)) for each in {self.ref, *self.channels})
        return re.compile(f"(?<!{MORE})(?:{names})(?!{MORE})")


#: Says where a user has spoken, as far as it knows.
SpokeIn = Callable[[UserRef], Awaitable[Iterable[ChannelRef]]]


class Forgetter(Protocol):
    """One store, and how it forgets."""

    name: str

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        """Forget it, and say how much of it there was; count only, if nothing shall be changed."""
