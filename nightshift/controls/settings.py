"""The switches, and how each stands until somebody flips it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ControlsSection(BaseModel):
    """Each of these is a switch: its first value, and what it does while it is on."""

    chat_llm_enabled: bool = Field(True, description="lets through work that asks a model")
    channel_heartbeat_enabled: bool = Field(True, description="lets channels be visited")
    model_probe: bool = Field(
        True, description="lets through the periodic question whether the model answers"
    )
    shadow: bool = Field(
        False, description="keeps back whatever would be said; everything else is decided and done"
    )
    shadow_calls: bool = Field(True, description="lets work ask a model although nothing is said (shadow)")
