"""Real processes, killed, frozen and fed rubbish: what was asked is carried out, and takes effect once."""

from __future__ import annotations

import asyncio
import signal

import pytest

from nightshift.base.errors import StoreFull, StoreUnreachable
from nightshift.runs.states import State
from tests.faults.deployment import LEASE, Deployment, until

LEASE_S = LEASE.total_seconds()


async def test_a_run_whose_worker_is_killed_is_carried_out_by_another_and_takes_effect_once(
    deployment: Deployment,
) -> None:
    await deployment.start_worker("first", "io")
    run = await deployment.ask("killed", seconds=2)
    await deployment.until_marked(run, "began")
    deployment.kill("first")
    await deployment.start_worker("second", "io")
    row = await deployment.until_state(run, State.DONE, seconds=LEASE_S + 20)
    assert row.attempts == 1
    assert row.worker == "second@test"
    await deployment.check()


async def test_a_worker_frozen_past_its_lease_cannot_settle_what_another_has_taken_over(
    deployment: Deployment,
) -> None:
    await deployment.start_worker("frozen", "io")
    run = await deployment.ask("frozen", seconds=1)
    await deployment.until_marked(run, "began")
    deployment.signal("frozen", signal.SIGSTOP)
    await deployment.start_worker("second", "io")
    await deployment.until_state(run, State.DONE, seconds=LEASE_S + 20)
    deployment.signal("frozen", signal.SIGCONT)
    await deployment.until_marked(run, "finished", times=2)
    refused = deployment.home / "frozen.log"

    async def said_so() -> bool:
        return "settle_refused" in refused.read_text() or "lease_lost" in refused.read_text()

    await until(said_so, 5, "the thawed worker is refused")
    assert (await deployment.ledger.get(run)).worker == "second@test"
    await deployment.check()


async def test_a_hint_that_died_with_the_worker_that_popped_it_is_given_again(deployment: Deployment) -> None:
    await deployment.start_worker("frozen", "io")
    run = await _frozen_with_a_hint_in_its_socket(deployment, "frozen")
    deployment.kill("frozen")
    await deployment.start_worker("second", "io")
    row = await deployment.until_state(run, State.DONE, seconds=2 * LEASE_S + 20)
    assert row.worker == "second@test"
    await deployment.check()


async def _frozen_with_a_hint_in_its_socket(deployment: Deployment, worker: str) -> str:
    """Freeze the worker while it waits for a message: the answer to its pop is then in its socket alone."""
    for attempt in range(20):
        deployment.signal(worker, signal.SIGSTOP)
        run = await deployment.ask(f"popped-{attempt}")
        while (await deployment.ledger.get(run)).raw["hints"] == "0":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        queued = await deployment.broker.lrange("ns-broker:io", 0, -1)
        reserved = await deployment.broker.hvals("ns-broker:unacked")
        if not any(run in str(message) for message in [*queued, *reserved]):
            return run
        # It was between two pops.
        deployment.signal(worker, signal.SIGCONT)
        await deployment.until_state(run, State.DONE)
        await asyncio.sleep(0.1)
    raise AssertionError("the worker never waited for a message when it was frozen")


async def test_three_deploys_during_one_long_run_do_not_make_it_give_up(unhurried: Deployment) -> None:
    run = await unhurried.ask("long", seconds=4)
    for deploy in range(4):
        await unhurried.start_worker(f"release-{deploy}", "io")
        await unhurried.until_marked(run, "began", times=deploy + 1)
        if deploy < 3:
            unhurried.signal(f"release-{deploy}", signal.SIGTERM)
            unhurried.processes[f"release-{deploy}"].wait()
    row = await unhurried.until_state(run, State.DONE, seconds=15)
    assert (row.attempts, row.retries) == (0, 0)
    await unhurried.check()


async def test_redis_killed_under_load_loses_nothing_and_work_resumes(
    own_deployment: Deployment,
) -> None:
    await own_deployment.start_worker("worker", "io")
    for n in range(30):
        await own_deployment.ask(f"load-{n}", seconds=0.2)
    own_deployment.kill("redis")
    await asyncio.sleep(1)
    await own_deployment.start_redis()
    run = await own_deployment.ask("after")
    await own_deployment.until_state(run, State.DONE, seconds=10)
    await own_deployment.check()
    assert own_deployment.processes["worker"].poll() is None


async def test_a_full_store_refuses_to_record_and_loses_nothing(own_deployment: Deployment) -> None:
    await own_deployment.start_worker("worker", "io")
    run = await own_deployment.ask("before", seconds=1)
    await own_deployment.until_marked(run, "began")
    await own_deployment.client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreFull, match="maxmemory"):
        await own_deployment.ask("refused")
    # What has begun may end: its settle frees more than it takes.
    await own_deployment.until_state(run, State.DONE)
    await own_deployment.client.config_set("maxmemory", "0")
    if own_deployment.processes["worker"].poll() is not None:
        await own_deployment.start_worker("worker-again", "io")
    await own_deployment.ask("after")
    await own_deployment.check()


async def test_items_that_are_no_messages_do_not_end_the_worker(deployment: Deployment) -> None:
    await deployment.start_worker("worker", "io")
    for rubbish in ("{bad", '"x"', "[1]", '{"body": 3}', '{"body": "e30=", "properties": {}}'):
        await deployment.broker.lpush("ns-broker:io", rubbish)
    pickled = (
        '{"body": "gASVAA==", "content-type": "application/x-python-serialize", "content-encoding": "binary",'
        '"headers": {"task": "tasks.graph.count", "id": "1"}, "properties": {"delivery_tag": "1",'
        '"body_encoding": "base64", "delivery_info": {"exchange": "nightshift", "routing_key": "io"}}}'
    )
    await deployment.broker.lpush("ns-broker:io", pickled)
    await deployment.ask("after")
    await deployment.check()
    assert deployment.processes["worker"].poll() is None
    assert await deployment.broker.llen("ns-broker:unreadable") == 5
    assert (
        "Refusing to deserialize untrusted content of type pickle"
        in (deployment.home / "worker.log").read_text()
    )


async def test_a_task_nobody_knows_stays_waiting_until_a_worker_knows_it(deployment: Deployment) -> None:
    await deployment.start_worker("worker", "io")
    run = await deployment.ask("newer", task="tasks.not.yet.there")
    other = await deployment.ask("known")
    await deployment.until_state(other, State.DONE)
    assert (await deployment.ledger.get(run)).state is State.WAITING
    assert deployment.processes["worker"].poll() is None


async def test_a_broker_that_forgets_everything_costs_a_second_hint_and_no_run(
    own_deployment: Deployment,
) -> None:
    runs = [await own_deployment.ask(f"queued-{n}") for n in range(20)]

    async def all_hinted() -> bool:
        return await own_deployment.broker.llen("ns-broker:io") >= len(runs)

    await until(all_hinted, 5, "all hints are queued")
    await own_deployment.broker.flushdb()
    await own_deployment.start_worker("worker", "io")
    await own_deployment.check(seconds=LEASE_S + 10)


async def test_a_run_that_kills_every_worker_is_given_up_and_can_be_replayed(deployment: Deployment) -> None:
    run = await deployment.ask("poison", seconds=60)
    for attempt in range(3):
        await deployment.start_worker(f"victim-{attempt}", "io")
        await deployment.until_marked(run, "began", times=attempt + 1)
        deployment.kill(f"victim-{attempt}")
    row = await deployment.until_state(run, State.FAILED, seconds=LEASE_S + 20)
    assert row.reason.startswith("gave up after 3 attempts: lost by victim-2@test")
    await deployment.ledger.replay(run, by="a person")
    assert (await deployment.ledger.get(run)).state is State.WAITING


async def test_the_pulse_is_taken_over_when_its_worker_is_killed(own_deployment: Deployment) -> None:
    await own_deployment.start_worker("second", "control,io")
    own_deployment.kill("control")
    run = await own_deployment.ask("after")
    await own_deployment.until_state(run, State.DONE, seconds=2 * LEASE_S + 20)


async def test_a_store_that_is_away_for_a_moment_does_not_cost_a_finished_run(
    own_deployment: Deployment,
) -> None:
    await own_deployment.start_worker("worker", "io")
    run = await own_deployment.ask("patient", seconds=1)
    await own_deployment.until_marked(run, "began")
    own_deployment.signal("redis", signal.SIGSTOP)
    await asyncio.sleep(1.5)
    own_deployment.signal("redis", signal.SIGCONT)
    row = await own_deployment.until_state(run, State.DONE)
    assert row.attempts == 0
    assert own_deployment.marks("began")[run] == 1


async def test_recording_while_the_store_is_away_says_so(own_deployment: Deployment) -> None:
    own_deployment.kill("redis")
    with pytest.raises(StoreUnreachable, match="does not answer"):
        async with asyncio.timeout(20):
            await own_deployment.ask("nobody")
