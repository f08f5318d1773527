"""Why a run waits, who carries it out, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from redis.asyncio import Redis
from redis.exceptions import RedisError

from nightshift.agents.liveness import AgentLiveness
from nightshift.base.errors import UnknownDelivery
from nightshift.base.instants import from_ms
from nightshift.base.words import clock, money, span, times, when
from nightshift.controls.switches import SwitchBoard
from nightshift.deliveries.deliveries import Deliveries
from nightshift.processes.signs_of_life import Process, read_processes
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import MODEL_QUEUES, PULL
from nightshift.runs.row import RunRow
from nightshift.runs.states import State
from nightshift.status.overview import consumers, read_pulse
from nightshift.status.why import Why
from nightshift.store.client import store_now, text_hash


async def why_run(
    ledger: Ledger, deliveries: Deliveries, liveness: AgentLiveness, broker: Redis, run: str
) -> Why:
    """Say why this run is where it is."""
    row = await ledger.get(run)
    now = await store_now(ledger.redis)
    processes = await read_processes(ledger.redis, ledger.keys)
    if row.state is State.WAITING:
        board = await deliveries.switches.read()
        says = await _why_it_waits(ledger, board, liveness, broker, row, processes, now)
    elif row.state is State.RUNNING:
        says = _who_carries_it_out(row, processes, now)
    else:
        says = [_how_it_ended(row, now), *await _what_was_said(deliveries, row)]
    return Why(row.id, says, run=row.id, state=row.state)


async def _why_it_waits(
    ledger: Ledger,
    board: SwitchBoard,
    liveness: AgentLiveness,
    broker: Redis,
    row: RunRow,
    processes: Sequence[Process],
    now: datetime,
) -> list[str]:
    says = []
    if row.ready > now:
        says.append(f"It is not to start before {clock(row.ready)}, {when(row.ready, now)}.")
    if row.reason:
        says.append(f"It went back to waiting: {row.reason}.")
    if row.queue in MODEL_QUEUES and (closed := board.models_closed):
        says.append(f"Its queue {row.queue} is closed: {closed}.")
    if row.queue == PULL:
        return [*says, *await _lane(ledger, row), await _whose_bot(ledger, liveness, row, now)]
    workers = consumers(processes, row.queue)
    if not workers:
        says.append(f"No live worker consumes its queue {row.queue}; `nightshift worker` starts one.")
    elif all(_is_full(worker) for worker in workers):
        says.append(f"Every worker of its queue {row.queue} is full: {_names(workers)}.")
    if not (await read_pulse(ledger.redis, ledger.keys)).held:
        says.append("Nobody holds the pulse, so no worker is told of it.")
    says += await _lane(ledger, row)
    says += await _backlog(broker, ledger.keys.broker_prefix + row.queue, row.queue)
    if not says or row.ready <= now:
        says.append(_hints(row, await ledger.redis.zscore(ledger.keys.open, row.id), now))
    return says


async def _whose_bot(ledger: Ledger, liveness: AgentLiveness, row: RunRow, now: datetime) -> str:
    till = row.ready + ledger.rules.unasked
    there = [f"{each.platform} ({each.process})" async for each in liveness.present_of(row.tenant, row.agent)]
    bot = f"there, on {', '.join(there)}" if there else "not there: it has given no sign of life of late"
    return (
        f"It waits for the bot of agent {row.agent} to ask for it, and is skipped {when(till, now)}; "
        f"the bot is {bot}."
    )


async def _lane(ledger: Ledger, row: RunRow) -> list[str]:
    holder = (await text_hash(ledger.redis, ledger.keys.lane(row.lane))).get("holder") if row.lane else None
    if holder is None or holder == row.id:
        return []
    other = await ledger.find(holder)
    if other is None or other.state is not State.RUNNING:
        return []
    return [f"{holder} is being carried out, and runs of {row.lane} go one after the other."]


async def _backlog(broker: Redis, key: str, queue: str) -> list[str]:
    try:
        ahead = await _length(broker, key)
    except (RedisError, OSError) as error:
        return [f"The broker does not answer, so no worker can be told: {error}."]
    return [f"{ahead} messages wait for a worker in the queue {queue}."] if ahead else []


async def _length(broker: Redis, key: str) -> int:
    waiting: int = await broker.llen(key)
    return waiting


def _hints(row: RunRow, look: object, now: datetime) -> str:
    hints = [line.at for line in row.story if line.what == "hinted"]
    if not hints or not int(row.raw.get("hints", 0)):
        return "The pulse has not handed it out yet; it does so within moments of its time."
    again = f", and is again {when(from_ms(str(look)), now)}" if look is not None else ""
    return f"It was handed out {times(int(row.raw['hints']))}, last {when(hints[-1], now)}{again}."


def _who_carries_it_out(row: RunRow, processes: Sequence[Process], now: datetime) -> list[str]:
    since = f" since {clock(row.started)}, for {span(now - row.started)}" if row.started else ""
    says = [f"{row.worker} carries it out{since}; attempt {row.attempts + 1}."]
    if "cancel" in row.raw:
        says.append("It was cancelled; its worker stops when it next renews its claim.")
    if row.lease and row.lease <= now:
        says.append(f"Its claim lapsed {when(row.lease, now)}; the pulse gives it to somebody else.")
    if not any(each.name == row.worker and each.alive for each in processes):
        until = f" after {clock(row.lease)}" if row.lease else ""
        says.append(f"{row.worker} gives no sign of life; somebody else takes it over{until}.")
    return says


def _how_it_ended(row: RunRow, now: datetime) -> str:
    assert row.ended is not None  # noqa: S101  an ended run has an end
    took = f" in {span(row.ended - row.started)}" if row.started and row.worker else ""
    by = f" by {row.worker}" if row.worker else ""
    reason = f": {row.reason}" if row.reason else ""
    spent = f", for {money(row.cost)}" if row.cost else ""
    remedy = f"; `nightshift runs requeue {row.id}` lets it try again" if row.state is State.FAILED else ""
    at = f"since {clock(row.ended)}, {when(row.ended, now)}"
    return f"It is {row.state} {at}{by}{took}{spent}{reason}{remedy}."


async def _what_was_said(deliveries: Deliveries, row: RunRow) -> list[str]:
    id = row.result.get("delivery") if isinstance(row.result, dict) else None
    if not isinstance(id, str):
        return []
    try:
        delivery = await deliveries.get(id)
    except UnknownDelivery:
        return [f"Its delivery {id} is no longer kept."]
    says = [f"Its delivery {id} is {delivery.state}{f': {delivery.reason}' if delivery.reason else ''}."]
    if not delivery.state.ended and delivery.by == "us" and row.id != delivery.sending_run:
        says.append(f"`nightshift why {delivery.sending_run}` tells how sending it goes.")
    return says


def _is_full(worker: Process) -> bool:
    pool = worker.facts.get("pool", {})
    return bool(pool.get("limit")) and pool.get("running", 0) >= pool["limit"]


def _names(workers: Sequence[Process]) -> str:
    return ", ".join(each.name for each in workers)
