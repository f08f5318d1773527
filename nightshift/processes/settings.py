"""How processes work, and how they tell of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field


class ProcessesSection(BaseModel):
    """Workers, logs and signs of life."""

    concurrency: int = Field(100, ge=1, le=5000, description="tasks a worker carries out at once")
    log_format: Literal["auto", "json", "console"] = "auto"
    task_events: bool = Field(False, description="send Celery's task events; `up` does so if Flower runs")
    liveness_file: Path | None = Field(
        None, description="touched while the process works; unset: NAME.alive in the home's folder run"
    )
