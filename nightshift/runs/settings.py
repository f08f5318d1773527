"""How runs are carried out, shared out and kept."""

from __future__ import annotations

from pydantic import BaseModel, Field

from nightshift.runs.states import SHARE


class RunsSection(BaseModel):
    """Leases, shares, and how long what has ended is kept."""

    lease_seconds: float = Field(30, ge=1.5, description="how long a claim outlives the worker that holds it")
    tenant_share: int = Field(
        SHARE, ge=1, description="runs of one tenant in flight on a queue while other tenants have work"
    )
    retention_done_days: int = Field(14, ge=1)
    retention_failed_days: int = Field(90, ge=1)
