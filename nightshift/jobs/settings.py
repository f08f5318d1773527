"""What ``[jobs.NAME]`` in nightshift.toml may change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import NoDecode


class JobOverride(BaseModel):
    """What ``[jobs.NAME]`` in nightshift.toml may change of a row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool | None = None
    every: Annotated[float, Field(gt=0, description="seconds")] | None = None
    cron: str | None = None
    zone: str = "UTC"
    first_run_after: Annotated[float, Field(ge=0, description="seconds")] | None = None
    late: Literal["run_latest", "skip", "run_all"] | None = None


class JobsSection(BaseModel):
    """Changes to the table, by name."""

    jobs: Annotated[dict[str, JobOverride], NoDecode] = Field(
        default_factory=dict, description="changes to rows of beat_schedule.py"
    )
