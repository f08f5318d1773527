"""Metrics of processes that really run."""

from __future__ import annotations

from nightshift.runs.states import State
from tests.faults.deployment import Deployment
from tests.nightshift.web.reading import read


async def test_a_run_that_is_carried_out_is_told_of_with_everybody_who_takes_part(
    deployment: Deployment,
) -> None:
    await deployment.start_worker("busy", "memory")
    before = await read(deployment.ledger, deployment.broker)
    run = await deployment.ask("told", seconds=1, queue="memory")
    await deployment.until_marked(run, "began")

    during = await read(deployment.ledger, deployment.broker)
    assert during.by("runs_open")["memory", "running"] == 1
    assert during["attempts_total"] > before["attempts_total"]
    assert during["messages_unacked"] > 0
    assert (during["beat_lease_held"], during["pulse_held"]) == (1, 1)
    assert 0 < during["beat_lease_ttl_seconds"] <= 3
    assert during["slot_lag_seconds"] < 2
    assert during.by("jobs")["on",] > 0
    assert during.by("processes_alive")["beat",] > 0
    assert during.by("queue_consumers")["memory",] > 0
    assert during["worker_slots_limit"] >= during["worker_slots_running"]

    await deployment.until_state(run, State.DONE)
    after = await read(deployment.ledger, deployment.broker)
    assert after.by("runs_open")["memory", "running"] == 0
    assert after.by("runs_ended_total")["done",] > before.by("runs_ended_total")["done",]
