"""Forgetting what beats know: of a channel everything, of a user what the places they spoke in were told."""

from __future__ import annotations

from nightshift.channels.ref import ChannelRef
from nightshift.heartbeats.beats import Beats
from nightshift.memory.forget import What


class BeatForgetter:
    """The rows of beats, and why some were skipped."""

    name = "heartbeats"

    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    async def forget(self, what: What, *, dry_run: bool = False) -> int:
        whole = isinstance(what.subject, ChannelRef)
        if dry_run:
            rows = [await self._beats.find(ref) for ref in what.channels]
            return sum(bool(row and (whole or row.acts)) for row in rows)
        return await self._beats.forget(what.channels, topics_only=not whole)
