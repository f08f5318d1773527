"""Forgetting what visits know: of a channel everything, of a user what the places they spoke in were told."""

from __future__ import annotations

from nightshift.base.refs import ChannelRef
from nightshift.base.subject import Subject
from nightshift.heartbeats.visits import Visits


class VisitForgetter:
    """The rows of visits, and why some were skipped."""

    name = "heartbeats"

    def __init__(self, visits: Visits) -> None:
        self._visits = visits

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        whole = isinstance(subject.ref, ChannelRef)
        if dry_run:
            rows = [await self._visits.find(ref) for ref in subject.channels]
            return sum(bool(row and (whole or row.acts)) for row in rows)
        return await self._visits.forget(subject.channels, topics_only=not whole)
