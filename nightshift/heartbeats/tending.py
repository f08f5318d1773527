"""Which channels are visited: the most recently used ones."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightshift.channels.channels import Channels
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.store.client import LARGEST_READ, take, walk_index


async def tend(
    channels: Channels, visits: Visits, rules: HeartbeatRules, *, now: datetime, again: timedelta
) -> dict[str, int]:
    """
    Adopt channels that have come to be used, drop those that others have overtaken; says how many.

    Visits that a clock which was set has put out of reach get another time. Safe to repeat.
    """
    active = await channels.active(rules.channels)
    adopted = await visits.adopt({each.ref: each.last_human_at for each in active}, rules, now=now)
    wanted = {str(each.ref) for each in active}
    dropped = 0
    for index in (visits.keys.visits, visits.keys.visits_out):
        entries = walk_index(visits.redis, index, None)
        while known := [channel for _, channel in await take(entries, LARGEST_READ)]:
            dropped += await visits.drop(channel for channel in known if channel not in wanted)
    misplaced = await visits.replace_misplaced(rules, again=again)
    return {"adopted": adopted, "dropped": dropped, "misplaced": misplaced}
