"""When channels are visited, as the settings say it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from nightshift.heartbeats.rules import HeartbeatRules


class HeartbeatsSection(BaseModel):
    """What a person may change later on, in the rule book."""

    heartbeat: HeartbeatRules = Field(default_factory=HeartbeatRules, description="when channels are visited")
