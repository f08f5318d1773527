"""The queues, split by what the work on them costs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

#: The header of a message that may be lost: whoever sent it notices, and sends it again.
EXPENDABLE = "expendable"
#: A message nobody acknowledged comes back after this. Far above any deadline: the ledger's leases bring
#: lost work back long before.
VISIBILITY_TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True)
class QueueKind:
    """One queue and what belongs on it."""

    name: str
    holds: str
    #: Closed while the switch ``chat_llm_enabled`` is off, and while everything is frozen.
    needs_model: bool = False


# fmt: off
QUEUES = (
    QueueKind("control",   "the pulse and retention: milliseconds"),
    QueueKind("agents",    "runs a person waits for: prompts, triggers, wakes", needs_model=True),
    QueueKind("heartbeat", "visits of channels; the first work to be shed",      needs_model=True),
    QueueKind("memory",    "extracting, summarising, judging, organising",      needs_model=True),
    QueueKind("graph",     "pure-graph maintenance; no model is ever asked"),
    QueueKind("io",        "polls, deliveries, backfill, probes"),
)
# fmt: on

#: No worker's: here work waits until the agent's own bot asks for it.
PULL = "pull"
QUEUE_NAMES = frozenset(queue.name for queue in QUEUES)
MODEL_QUEUES = frozenset(queue.name for queue in QUEUES if queue.needs_model)
