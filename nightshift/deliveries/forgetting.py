"""Forgetting what was said to a channel, or to a user among others."""

from __future__ import annotations

from contextlib import aclosing

from nightshift.base.subject import Subject
from nightshift.deliveries.deliveries import Deliveries
from nightshift.store.client import LARGEST_READ, take, walk_index


class DeliveryForgetter:
    """
    The texts of deliveries.

    What we say to a channel is made of what was said there, so with a user goes all that was said where they
    have spoken. That something was said, and when, stays.
    """

    name = "deliveries"

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        gone = 0
        for channel in subject.channels:
            index = self._deliveries.keys.deliveries_to(str(channel))
            async with aclosing(walk_index(self._deliveries.redis, index, None)) as entries:
                while batch := await take(entries, LARGEST_READ):
                    ids = [id for _, id in batch]
                    if dry_run:
                        gone += sum(bool(row.text) for row in await self._deliveries.rows(ids))
                    else:
                        gone += await self._deliveries.forget(ids)
        return gone
