"""How much is kept of what was said, and what is not taken in at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from nightshift.memory.settings import MemorySection


@dataclass(frozen=True)
class Limits:
    """One object, so that tests can narrow them together."""

    #: Bytes of a message's text; the rest is cut off.
    text: int = 32 * 1024
    #: Messages of a channel; the oldest go.
    messages: int = 2_000
    age: timedelta = timedelta(days=90)
    #: Things observed at once.
    batch: int = 500
    #: How far a platform's clock may be ahead of the store's.
    ahead: timedelta = timedelta(minutes=5)
    #: Messages that wait for a vector; the longest waiting go.
    unembedded: int = 100_000

    @classmethod
    def of(cls, settings: MemorySection) -> Self:
        """The limits that the settings say."""
        return cls(messages=settings.messages_per_channel, age=timedelta(days=settings.messages_days))


def fit_text(text: str, most: int) -> tuple[str, int]:
    """The text as it is kept, and how many bytes it had if it was cut."""
    whole = text.replace("\0", "").encode(errors="replace")
    if len(whole) <= most:
        return whole.decode(), 0
    return whole[:most].decode(errors="ignore"), len(whole)
