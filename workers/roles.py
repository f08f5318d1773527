"""Who works on which queue: one Deployment, one scaling rule, for each role."""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.runs.queues import QUEUES


@dataclass(frozen=True)
class WorkerRole:
    """One kind of worker process."""

    name: str
    queues: tuple[str, ...]
    #: Tasks carried out at once.
    concurrency: int


# fmt: off
ROLES = (
    WorkerRole("control", ("control",),             20),
    WorkerRole("agents",  ("agents",),             500),
    WorkerRole("upkeep",  ("heartbeat", "memory"), 200),
    WorkerRole("graph",   ("graph",),               20),
    WorkerRole("io",      ("io",),                 100),
    # The small profile: one process for everything.
    WorkerRole("all",     tuple(queue.name for queue in QUEUES), 100),
)
# fmt: on

BY_NAME = {role.name: role for role in ROLES}
