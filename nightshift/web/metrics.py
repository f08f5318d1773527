"""
What Prometheus is told: the deployment in numbers, read from the stores whenever it asks.

Nothing is counted in the web's own process, so any number of them tell the same. A reading is a dozen round
trips however much there is to do. Up to a thousand open runs are counted; of more, a thousand chosen at
random stand for all. Everything else is a length, a short table, or a total that the scripts keep.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.asyncio import Redis

from nightshift.base.errors import StoreUnreachable
from nightshift.base.instants import from_ms
from nightshift.controls.switches import SwitchBoard, Switches
from nightshift.deliveries.delivery import DeliveryState
from nightshift.jobs.table import JobStatus, read_table
from nightshift.processes.signs_of_life import Process, read_processes
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import MODEL_QUEUES, PULL, QUEUE_NAMES
from nightshift.runs.states import ENDED, OPEN, State
from nightshift.status.overview import consumers, read_pulse
from nightshift.store.client import AWAY, store_now, text_hash

log = structlog.get_logger("nightshift.metrics")

#: More open runs than this are estimated from so many.
SAMPLE = 1_000
#: A server that has not answered by then counts as away; Prometheus waits ten seconds by default.
PATIENCE = timedelta(seconds=3)
#: Kinds of process that are told of even when there is none.
KINDS = ("beat", "worker")
QUEUES = tuple(sorted(QUEUE_NAMES))
SKIP_REASONS = ("missed", "overlap")
SKIPPED_FOR = "skipped:"
#: Keeps labels few, whatever a row says.
OTHER = "other"
MICRO = 1_000_000
#: What the purse says of a cap, and whether that means that it was reached.
NEAR = {"warned": "no", "blocked": "yes"}


async def read_metrics(ledger: Ledger, switches: Switches, broker: Redis) -> bytes:
    """Tell everything in Prometheus' text format; of a server that is away, only that it is."""
    of_store, of_broker = await asyncio.gather(
        _unless_away("store", _read_store(ledger, switches)),
        _unless_away("broker", _read_broker(broker, ledger.keys.broker_prefix)),
    )
    return generate_latest(_Told([*of_store, *of_broker]))


class _Told:
    """What has been read, as the exposition wants it."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


async def _unless_away(server: str, reading: Awaitable[list[Metric]]) -> list[Metric]:
    metrics: list[Metric] = []
    up = True
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            metrics = await reading
    except (*AWAY, StoreUnreachable, OSError) as error:
        up = False
        log.warning("server_not_read", server=server, why=f"{type(error).__name__}: {error}")
    return [_gauge(f"{server}_up", f"1 while the {server} answers, else 0.", up), *metrics]


def _metric(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    says: str,
    values: float | Mapping[Any, float],
    *labels: str,
) -> Metric:
    metric = family(f"nightshift_{name}", says, labels=labels)
    for each, value in values.items() if isinstance(values, Mapping) else [((), values)]:
        metric.add_metric((each,) if isinstance(each, str) else each, value)
    return metric


_gauge = partial(_metric, GaugeMetricFamily)
_counter = partial(_metric, CounterMetricFamily)


# The store


async def _read_store(ledger: Ledger, switches: Switches) -> list[Metric]:
    redis, keys = ledger.redis, ledger.keys
    return [
        *await _open_runs(ledger),
        *await _totals(ledger),
        *await _deliveries(ledger),
        *await _pace(ledger),
        *_processes(await read_processes(redis, keys)),
        *_jobs(await read_table(redis, keys)),
        *_switches(await switches.read()),
    ]


async def _open_runs(ledger: Ledger) -> list[Metric]:
    redis, keys = ledger.redis, ledger.keys
    index = redis.pipeline(transaction=False)
    index.zcard(keys.open)
    index.zrandmember(keys.open, SAMPLE)
    index.zrange(keys.open, 0, 0)
    index.zcard(keys.ended(State.FAILED))
    size, chosen, soonest, dead = await index.execute()
    rows = redis.pipeline(transaction=False)
    # What nobody has been told of waits at the head of the index, so that one is always among those asked.
    for run in [*chosen, *soonest]:
        rows.hmget(keys.run(run), "state", "queue", "ready", "hints")
    found = await rows.execute()
    now = await store_now(redis)

    each_stands_for = size / max(len(chosen), 1)
    standing = dict.fromkeys(((state, queue) for state in OPEN for queue in (*QUEUES, OTHER)), 0.0)
    late = dict.fromkeys((*QUEUES, OTHER), 0.0)
    hinted = 0.0
    for state, name, _, hints in found[: len(chosen)]:
        if state in OPEN:
            standing[state, _bounded(name, QUEUES)] += each_stands_for
            hinted += each_stands_for * (state == State.WAITING and hints != "0")
    for state, name, ready, _ in found:
        if state == State.WAITING and name != PULL:  # what a bot comes for has all day
            queue = _bounded(name, QUEUES)
            late[queue] = max(late[queue], (now - from_ms(ready)).total_seconds())
    return [
        _gauge(
            "runs_open",
            f"Runs that have not ended; beyond {SAMPLE} in all, estimated from so many.",
            standing,
            "state",
            "queue",
        ),
        _gauge("runs_hinted", "Waiting runs that a worker has been told of; estimated alike.", hinted),
        _gauge(
            "run_lag_seconds",
            f"How long the waiting run that is most overdue has been ready; beyond {SAMPLE}, of so many.",
            late,
            "queue",
        ),
        _gauge("runs_dead", "Failed runs that are kept and can be replayed.", dead),
    ]


async def _totals(ledger: Ledger) -> list[Metric]:
    found = {what: int(number) for what, number in (await text_hash(ledger.redis, ledger.keys.total)).items()}
    skips = dict.fromkeys((*SKIP_REASONS, OTHER), 0)
    for what, number in found.items():
        if what.startswith(SKIPPED_FOR):
            skips[_bounded(what.removeprefix(SKIPPED_FOR), SKIP_REASONS)] += number
    return [
        _counter("attempts_total", "Times a worker began to carry a run out.", found.get("claimed", 0)),
        _counter(
            "leases_lost_total", "Times a worker fell silent over a run that it had.", found.get("lost", 0)
        ),
        _counter(
            "runs_ended_total",
            "Runs that ended, by how.",
            {state: found.get(state, 0) for state in ENDED},
            "state",
        ),
        _counter("slots_skipped_total", "Slots that made no run, by why.", skips, "reason"),
        _counter("cost_usd_total", "What ended runs have cost, in US dollars.", found.get("cost", 0) / MICRO),
        _counter("spent_usd_total", "What calls to models have cost so far.", found.get("spent", 0) / MICRO),
        _counter(
            "caps_near_total",
            "Times somebody came near a cap on a day, at any level, by whether it was reached.",
            {reached: found.get(f"budget_{what}", 0) for what, reached in NEAR.items()},
            "reached",
        ),
    ]


async def _deliveries(ledger: Ledger) -> list[Metric]:
    redis, keys = ledger.redis, ledger.keys
    pipeline = redis.pipeline(transaction=False)
    for state in DeliveryState:
        pipeline.zcard(keys.deliveries(state))
    pipeline.hmget(keys.total, [f"delivery:{state}" for state in DeliveryState])
    *kept, ever = await pipeline.execute()
    return [
        _gauge(
            "deliveries",
            "Deliveries that are kept, by where they stand.",
            dict(zip(DeliveryState, kept, strict=True)),
            "state",
        ),
        _counter(
            "deliveries_total",
            "Times a delivery came to this state.",
            {state: int(times or 0) for state, times in zip(DeliveryState, ever, strict=True)},
            "state",
        ),
    ]


async def _pace(ledger: Ledger) -> list[Metric]:
    """Who sees to it that what is due is recorded and handed out, and how far behind they are."""
    redis, keys = ledger.redis, ledger.keys
    pulse = await read_pulse(redis, keys)
    pipeline = redis.pipeline(transaction=False)
    pipeline.pttl(keys.beat_lease)
    pipeline.zrange(keys.beat_index, 0, 0, withscores=True)
    pipeline.zrange(keys.due, 0, 0, withscores=True)
    pipeline.xlen(keys.events)
    lease_ms, slot, schedule, events = await pipeline.execute()
    now = (await store_now(redis)).timestamp()
    slot_late = max([now - at for _, at in slot], default=0)
    schedule_late = max([now - at / 1000 for _, at in schedule], default=0)
    return [
        _gauge("beat_lease_held", "1 while a beat leads, else 0.", lease_ms > 0),
        _gauge("beat_lease_ttl_seconds", "How long its lease lasts unless renewed.", max(lease_ms, 0) / 1000),
        _gauge(
            "slot_lag_seconds", "How overdue the job's slot is that beat records next.", max(slot_late, 0)
        ),
        _gauge("pulse_held", "1 while a worker holds the pulse, else 0.", pulse.held),
        _gauge(
            "schedule_lag_seconds",
            "How overdue the schedule is that the pulse records next.",
            max(schedule_late, 0),
        ),
        _gauge("events_kept", "Events on the stream; the oldest of about 100,000 go first.", events),
    ]


def _processes(processes: Sequence[Process]) -> list[Metric]:
    alive = [each for each in processes if each.alive]
    kinds = Counter(dict.fromkeys(KINDS, 0))
    kinds.update(each.kind for each in alive)
    pools = [each.facts.get("pool", {}) for each in alive]
    restarts: Counter[str] = Counter()
    for child in (child for each in alive for child in each.facts.get("children", ())):
        restarts[child["name"]] += child["restarts"]
    return [
        _gauge("processes_alive", "Processes that gave a sign of life.", kinds, "kind"),
        _gauge(
            "queue_consumers",
            "Workers that take messages from this queue.",
            {queue: len(consumers(processes, queue)) for queue in QUEUES},
            "queue",
        ),
        _gauge(
            "worker_slots_limit",
            "Tasks that all workers can carry out at once.",
            sum(pool.get("limit", 0) for pool in pools),
        ),
        _gauge(
            "worker_slots_running",
            "Tasks that they carry out.",
            sum(pool.get("running", 0) for pool in pools),
        ),
        _counter(
            "process_restarts_total",
            "Times `nightshift up` started a process again because it had ended.",
            restarts,
            "process",
        ),
    ]


def _jobs(table: Sequence[JobStatus]) -> list[Metric]:
    standing = Counter({"on": 0, "off": 0, "broken": 0})
    standing.update("broken" if row.broken else "on" if row.on else "off" for row in table)
    return [_gauge("jobs", "Rows of the job table, by how they stand.", standing, "state")]


def _switches(board: SwitchBoard) -> list[Metric]:
    closed = MODEL_QUEUES if board.models_closed else ()
    return [
        _gauge("switch_on", "1 while this switch is on, else 0.", board.on, "switch"),
        _gauge("frozen", "1 while every call and send is stopped, else 0.", board.frozen is not None),
        _gauge(
            "queue_closed",
            "1 while a switch or the freeze keeps the runs of this queue waiting, else 0.",
            {queue: queue in closed for queue in QUEUES},
            "queue",
        ),
    ]


# The broker


async def _read_broker(broker: Redis, prefix: str) -> list[Metric]:
    pipeline = broker.pipeline(transaction=False)
    for queue in QUEUES:
        pipeline.llen(prefix + queue)
    pipeline.hlen(f"{prefix}unacked")
    pipeline.llen(f"{prefix}unreadable")
    *lengths, unacked, unreadable = await pipeline.execute()
    return [
        _gauge(
            "queue_length",
            "Messages that wait for a worker.",
            dict(zip(QUEUES, lengths, strict=True)),
            "queue",
        ),
        _gauge("messages_unacked", "Messages that workers have taken and not finished with.", unacked),
        _gauge("messages_unreadable", "Messages set aside because nobody could read them.", unreadable),
    ]


def _bounded(value: str, known: Sequence[str]) -> str:
    return value if value in known else OTHER
