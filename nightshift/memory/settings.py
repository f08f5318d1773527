"""How long what was said is remembered, as the settings say it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class MemorySection(BaseModel):
    """How much is kept, and for how long."""

    messages_days: int = Field(90, ge=1, description="how long what was said is kept in its channel")
    messages_per_channel: int = Field(2000, ge=1, description="how much of it, of one channel")
    recall_days: int = Field(365, ge=1, description="how long it can be recalled")
