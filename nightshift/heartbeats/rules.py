"""When channels are visited and what keeps them from it: settings ``[heartbeat]``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nightshift.base.errors import BadSetting

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))
#: In the settings, a number of seconds.
Pause = Annotated[timedelta, Field(gt=timedelta(0), le=30 * DAY)]


class HeartbeatRules(BaseModel):
    """One object, so that a pass reads all of them at one moment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interval: Annotated[timedelta, Field(ge=10 * SECOND, le=DAY, description="between two visits")] = (
        30 * MINUTE
    )
    jitter: Annotated[float, Field(ge=0, le=0.5, description="share of it, more or less")] = 0.1
    channels: Annotated[int, Field(ge=0, le=1_000_000, description="the most recently used ones")] = 1_000
    spacing: Annotated[Pause, Field(description="between two starts in a channel, for whatever reason")] = (
        MINUTE
    )
    flood_starts: Annotated[int, Field(ge=1, le=20, description="starts in a channel...")] = 5
    flood_window: Annotated[Pause, Field(description="...in so long at the most")] = 10 * MINUTE
    forced_after: Annotated[Pause, Field(description="one visit although nothing changed")] = 12 * HOUR
    acts_per_day: Annotated[int, Field(ge=0, le=1_000, description="a channel's")] = 4
    repeat_after: Annotated[Pause, Field(description="until the same may be said again")] = DAY
    stretch_after: Annotated[int, Field(ge=1, description="unchanged visits until the interval doubles")] = 3
    stretch_at_most: Annotated[int, Field(ge=1, le=64, description="times the interval")] = 8
    backoff: Annotated[tuple[Pause, ...], Field(min_length=1, description="after one failure, two, ...")] = (
        30 * SECOND,
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        HOUR,
    )
    pause_after: Annotated[int, Field(ge=1, description="failures in a row until it is paused")] = 6
    suspend_after: Annotated[Pause, Field(description="without a human")] = 7 * DAY
    turn: Annotated[timedelta, Field(ge=timedelta(0), description="how long a person may be writing on")] = (
        30 * SECOND
    )
    defer: Annotated[Pause, Field(description="when the channel's agent is busy")] = MINUTE
    defers: Annotated[int, Field(ge=0, le=20, description="times in a row")] = 3
    shown: Annotated[int, Field(ge=1, le=200, description="messages that the model is shown")] = 30


def changed(rules: HeartbeatRules, changes: Mapping[str, Any]) -> HeartbeatRules:
    """The rules with these changes, or a refusal that says which one is wrong."""
    try:
        return HeartbeatRules.model_validate({**rules.model_dump(), **changes})
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        known = ", ".join(sorted(HeartbeatRules.model_fields))
        remedy = f"known ones: {known}" if wrong["type"] == "extra_forbidden" else wrong["msg"]
        raise BadSetting(f"heartbeat rule {name!r} (it is {wrong['input']!r}): {remedy}") from error
