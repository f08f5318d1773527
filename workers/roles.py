"""Who works on which queue: one Deployment, one scaling rule, for each role."""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.runs.queues import QUEUES


@dataclass(frozen=True)
class Role:
    """One kind of worker process."""

    name: str
    queues: tuple[str, ...]
    #: Tasks carried out at once.
    concurrency: int


# fmt: off
ROLES = (
    Role("control", ("control",),             20),
    Role("agents",  ("agents",),             500),
    Role("upkeep",  ("heartbeat", "memory"), 200),
    Role("graph",   ("graph",),               20),
    Role("io",      ("io",),                 100),
    # The small profile: one process for everything.
    Role("all",     tuple(queue.name for queue in QUEUES), 100),
)
# fmt: on

BY_NAME = {role.name: role for role in ROLES}
