"""Forgetting what beats know: of a channel everything, of a user what the places they spoke in were told."""

from __future__ import annotations

from nightshift.base.refs import ChannelRef
from nightshift.base.subject import Subject
from nightshift.heartbeats.beats import Beats


class BeatForgetter:
    """The rows of beats, and why some were skipped."""

    name = "heartbeats"

    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        whole = isinstance(subject.ref, ChannelRef)
        if dry_run:
            rows = [await self._beats.find(ref) for ref in subject.channels]
            return sum(bool(row and (whole or row.acts)) for row in rows)
        return await self._beats.forget(subject.channels, topics_only=not whole)
