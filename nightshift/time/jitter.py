"""Starting a little later than the slot, so that schedules of one cadence do not all start at once."""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b

from nightshift.time.cadence import Cadence


def jitter(schedule_id: str, at_most: timedelta) -> timedelta:
    """Give a delay from zero to ``at_most``, always the same for a schedule, however often it is asked."""
    drawn = int.from_bytes(blake2b(schedule_id.encode(), digest_size=8).digest())
    return at_most * (drawn / 2**64)


def start_delay(cadence: Cadence, schedule_id: str, at_most: timedelta) -> timedelta:
    """Give the delay of a schedule: none at all where somebody named the time of day."""
    return timedelta(0) if cadence.at_fixed_times else jitter(schedule_id, at_most)
