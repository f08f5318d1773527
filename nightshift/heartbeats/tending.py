"""Which channels beat: the most recently used ones."""

from __future__ import annotations

from datetime import datetime, timedelta

from nightshift.channels.channels import Channels
from nightshift.heartbeats.beats import Beats
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.store.client import LARGEST_READ, take, walk_index


async def tend(
    channels: Channels, beats: Beats, rules: HeartbeatRules, *, now: datetime, again: timedelta
) -> dict[str, int]:
    """
    Adopt channels that have come to be used, drop those that others have overtaken; says how many.

    Beats that a clock which was set has put out of reach get another time. Safe to repeat.
    """
    active = await channels.active(rules.channels)
    adopted = await beats.adopt({each.ref: each.last_human_at for each in active}, rules, now=now)
    wanted = {str(each.ref) for each in active}
    dropped = 0
    for index in (beats.keys.beats, beats.keys.beats_out):
        entries = walk_index(beats.redis, index, None)
        while known := [channel for _, channel in await take(entries, LARGEST_READ)]:
            dropped += await beats.drop(channel for channel in known if channel not in wanted)
    misplaced = await beats.replace_misplaced(rules, again=again)
    return {"adopted": adopted, "dropped": dropped, "misplaced": misplaced}
