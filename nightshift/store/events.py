"""
What happens, as it happens: one stream for console, audit and metrics.

Every change of a run leaves its line in the script that makes it; whatever else is worth telling is
published here. What there is to tell, and in which fields, stands in ``event_list``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from redis.asyncio import Redis

from nightshift.base.instants import from_ms, to_ms
from nightshift.store.event_list import why_not_listed
from nightshift.store.keys import Keys

log = structlog.get_logger("nightshift.store")

#: Less than any client waits for an answer.
BLOCK = timedelta(seconds=4)
PAGE = 500
#: No event of a millisecond comes after this number.
LAST_OF_A_MS = 2**64 - 1
#: How many events are kept; the scripts say the same.
KEPT = 100_000
#: Whether an event that is not as listed is refused. Tests say so; a deployment logs it and tells it all the
#: same, because what has happened is worth more than how it is told.
refuse_unlisted = False

_logged: set[str] = set()


class EventNotListed(Exception):
    """An event that the list does not have, or not with these fields."""


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    id: str
    at: datetime
    type: str
    facts: Mapping[str, str]


async def publish_event(
    redis: Redis,
    keys: Keys,
    type: str,
    source: str,
    *,
    status: str = "ok",
    preview: str = "",
    facts: Mapping[str, str] | None = None,
) -> None:
    """Tell what happened outside a run: an event of the list, who it happened to, and facts."""
    row: dict[Any, Any] = {**(facts or {}), "source": source, "status": status}
    if preview:
        row["preview"] = preview
    _hold_against_list(type, row)
    row["type"] = type
    await redis.xadd(keys.events, row, maxlen=KEPT, approximate=True)


def _hold_against_list(type: str, row: Mapping[str, Any]) -> None:
    """Refuse an event that is not as listed, or say so once for each name."""
    why = why_not_listed(type, (name for name, value in row.items() if value != ""))
    if why and refuse_unlisted:
        raise EventNotListed(f"{type}: {why}; nightshift/store/event_list.py is the list")
    if why and type not in _logged:
        _logged.add(type)
        log.warning("event_not_listed", type=type, why=why)


async def follow_events(redis: Redis, keys: Keys, *, since: datetime) -> AsyncIterator[Event]:
    """Every event from this instant on, without end."""
    last = f"{to_ms(since) - 1}-{LAST_OF_A_MS}"
    while True:
        for event in await read_events(redis, keys, after=last, limit=PAGE, block=BLOCK):
            yield event
            last = event.id


async def read_events(
    redis: Redis, keys: Keys, *, after: str, limit: int, block: timedelta | None = None
) -> list[Event]:
    """The events after this one, oldest first; ``block`` waits so long for the first of them."""
    wait = round(block.total_seconds() * 1000) if block else None
    answer: Any = await redis.xread({keys.events: after}, count=limit, block=wait)
    return [_event(*entry) for _, entries in answer for entry in entries]


def _event(id: str, facts: Mapping[str, str]) -> Event:
    kept = {name: value for name, value in facts.items() if name != "type" and value}
    return Event(id, from_ms(id.partition("-")[0]), facts["type"], kept)
