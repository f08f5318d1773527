"""A job to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from nightshift.jobs.row import Job, Need, always
from nightshift.time.cadence import every
from nightshift.time.misfire import Misfire

MakeJob = Callable[..., Job]


@dataclass(frozen=True)
class Task:
    """What the table sees of a Celery task."""

    name: str


@pytest.fixture
def job() -> MakeJob:
    """``job("tidy", when=every(hours=1))``: a row with everything else as it mostly is."""

    def make(name: str = "tidy", **options: Any) -> Job:
        row: dict[str, Any] = {
            "task": Task(f"tasks.{name}"),
            "when": every(minutes=10),
            "first_run_after": timedelta(minutes=1),
            "queue": "io",
            "needs": (Need.REDIS,),
            "only_if": always,
            "late": Misfire.RUN_LATEST,
        }
        return Job(name, **row | options)

    return make
