"""What keeps a deployment from being ready; the rest is tested where people meet it, in `status`."""

from __future__ import annotations

import pytest

from nightshift.deployment import Deployment
from nightshift.processes.signs_of_life import report
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import QUEUE_NAMES


@pytest.mark.parametrize(
    ("told", "ready"),
    [
        ({"ready": True, "why": ""}, True),
        ({}, True),  # a worker of the release before, in the middle of a deploy
        ({"ready": False, "why": "the health ticker ended: SystemExit: 1"}, False),
    ],
)
async def test_a_worker_that_is_not_ready_is_named_with_its_reason(
    here: Deployment, ledger: Ledger, told: dict[str, object], ready: bool
) -> None:
    facts = {"queues": sorted(QUEUE_NAMES), "pool": {}} | told
    await report(ledger.redis, ledger.keys, "w@here", "worker", facts)
    await report(ledger.redis, ledger.keys, "beat@here", "beat", {"leads": True})
    await ledger.look("w@here/pulse")

    overview = await here.status.overview()

    assert overview.ready is ready
    assert overview.why == ([] if ready else ["w@here is not ready: the health ticker ended: SystemExit: 1"])
