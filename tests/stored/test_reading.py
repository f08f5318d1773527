"""A later version reads what an earlier one stored, and carries it on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift import agents
from nightshift.access.tokens import Role, Scope, Tokens
from nightshift.agents.liveness import AgentLiveness
from nightshift.base.errors import Frozen, OutOfBudget
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.controls.freeze import Freeze, Freezing
from nightshift.controls.switches import Switches
from nightshift.deliveries.bot import BotPost
from nightshift.deliveries.by_hand import DeliveryVerdict, resolve
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import DeliveryState
from nightshift.deliveries.echo import recording_in
from nightshift.deliveries.forgetting import DeliveryForgetter
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.forgetting import Forgetting
from nightshift.heartbeats.forgetting import VisitForgetter
from nightshift.heartbeats.row import Act
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.intake.connections import Connection, Connections
from nightshift.jobs.view import read_jobs
from nightshift.llm import lexical
from nightshift.llm.breaker import Breaker
from nightshift.llm.keypool import KeyPool, KeyState
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.forgetting import MessageForgetter, ReplyForgetter, SummaryForgetter, VectorForgetter
from nightshift.memory.message import MessageKind, Observed, Origin
from nightshift.memory.message_graph import EmbeddingModel, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.memory.recall import Recall
from nightshift.memory.summaries import Summaries
from nightshift.money.budget import read_budget
from nightshift.money.caps import Cap, Caps
from nightshift.money.costs import read_books, read_costs
from nightshift.money.payer import Level, Listed, Payer
from nightshift.money.purse import Hold, Purse
from nightshift.platforms.forgetting import RoomForgetter
from nightshift.platforms.local import LocalPlatform
from nightshift.runs.by_hand import requeue_run
from nightshift.runs.forgetting import EventForgetter, RunForgetter
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.search import WantedRuns, read_runs
from nightshift.runs.states import State, done
from nightshift.schedules.listing import read_schedules
from nightshift.schedules.recording import record_due
from nightshift.settings import Settings
from nightshift.status.channel import view_channel
from nightshift.status.overview import read_overview, read_pulse
from nightshift.status.upcoming import read_upcoming
from nightshift.status.why_channel import why_channel
from nightshift.status.why_job import why_job
from nightshift.status.why_run import why_run
from nightshift.store.client import text_list
from nightshift.store.events import read_events
from nightshift.store.graph import Graph
from nightshift.store.keys import Keys
from nightshift.work.pull import PulledWork, PullWork
from tests.nightshift.conftest import unembedded
from tests.nightshift.runs.model import Clock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOBBY = ChannelRef("discord", "lobby")
ATTIC = ChannelRef("discord", "attic: {1}*")
NIGHT, DM = ChannelRef("discord", "night"), ChannelRef("discord", "dm-1")
HALL, YARD = ChannelRef("chat", "hall"), ChannelRef("chat", "yard")
GARDEN, READING = ChannelRef("local", "garden"), ChannelRef("local", "reading")
#: The settings of the deployment that wrote it, as far as they say whose the work is.
SETTINGS = Settings(
    agents={
        "default": {"runner": "model"},
        "fern": {"delivers": "bot"},
        "otto": {"tenant": "north side", "zone": "Europe/Berlin"},
    },
    budget={"day": 2, "only": {"agent": {"otto": 0.5}}},
    heartbeat={"interval": 1800, "turn": 1, "spacing": 5, "suspend_after": 345_600},
)
FERN, OTTO = agents.of(SETTINGS, "fern"), agents.of(SETTINGS, "otto")


def at(text: str) -> datetime:
    """An instant of that November: its day, and the time."""
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=UTC)


async def claim(ledger: Ledger, run: str) -> RunRow:
    claimed = await ledger.claim(run, worker="later@night", message="later")
    assert isinstance(claimed, RunRow), claimed
    return claimed


@pytest.fixture
def messages(redis: Redis, keys: Keys, clock: Clock) -> Messages:
    return Messages(redis, keys, clock=clock)


@pytest.fixture
def deliveries(redis: Redis, keys: Keys, switches: Switches, clock: Clock) -> Deliveries:
    return Deliveries(redis, keys, switches, clock=clock)


@pytest.fixture
def visits(redis: Redis, keys: Keys, clock: Clock) -> Visits:
    return Visits(redis, keys, clock=clock)


@pytest.fixture
def freeze(redis: Redis, keys: Keys) -> Freeze:
    return Freeze(redis, keys)


@pytest.fixture
def caps(redis: Redis, keys: Keys) -> Caps:
    return Caps(redis, keys, SETTINGS.budget)


@pytest.fixture
def purse(redis: Redis, keys: Keys, caps: Caps, clock: Clock) -> Purse:
    return Purse(redis, keys, caps, clock=clock)


# Runs

LISTED = {
    State.WAITING: [
        "waiting@2026-11-20T12:00:00Z",
        "work:heartbeat:discord:lobby@2026-11-20T12:00:00Z",
        "work:heartbeat:chat:yard@2026-11-20T12:00:00.010Z",
        "delivery:prompt:otto@2026-11-20T12:00:00Z/0@1",
        "crowd@2026-11-20T11:59:59Z",
        "embedding@2026-11-20T12:00:05Z",
        "crowd@2026-11-20T11:59:58Z",
        "shelf-b@2026-11-20T12:00:00Z",
        "news@2026-11-17T10:00:00Z",
        "postponed@2026-11-20T12:00:00Z",
        "future@2026-11-20T14:00:00Z",
        "summary:discord:lobby@2026-11-17T18:00:26.317Z",
        "summary:discord:attic%3A%20%7B1%7D%2A@2026-11-17T18:00:26.317Z",
    ],
    State.RUNNING: [
        "lapsed@2026-11-20T12:00:00Z",
        "shelf-a@2026-11-20T12:00:00Z",
        "stopping@2026-11-20T12:00:00Z",
        "work:heartbeat:chat:hall@2026-11-20T12:00:00.005Z",
        "delivery:prompt:otto@2026-11-20T12:00:01Z/1@1",
    ],
    State.SKIPPED: [
        "slow@2026-11-19T07:01:00Z",
        "news@2026-11-19T07:01:00Z",
        "summary:discord:lobby@2026-11-12T18:00:30Z",
    ],
    State.FAILED: [
        "fragile-again@2026-11-19T07:01:00Z",
        "busy@2026-11-15T10:33:00Z",
        "refused@2026-11-15T10:33:00Z",
        "fragile@2026-11-15T10:00:00Z",
    ],
}


@pytest.mark.parametrize("state", LISTED)
async def test_runs_of_each_state_are_listed_in_their_order(ledger: Ledger, state: State) -> None:
    page = await read_runs(ledger, WantedRuns(states=[state]), limit=100)

    assert [row.id for row in page.rows] == LISTED[state]
    assert all(row.state is state for row in page.rows)


async def test_runs_are_counted_by_state_and_by_source(ledger: Ledger) -> None:
    assert await ledger.counts() == {"open": 18, "done": 111, "skipped": 3, "failed": 4}
    news = await read_runs(ledger, WantedRuns(sources=["news"], states=[State.DONE]), limit=100)
    assert [row.id for row in news.rows] == [f"news@2026-11-{day}T09:00:00Z" for day in (15, 14, 13)]
    north = await read_runs(ledger, WantedRuns(tenant="north side"), limit=500)
    assert Counter(row.state for row in north.rows) == {"waiting": 4, "running": 2, "done": 46}


async def test_a_run_tells_all_that_was_stored_of_it(ledger: Ledger) -> None:
    row = await ledger.get("news@2026-11-14T09:00:00Z")
    nine = at("14T09:00:00")

    assert (row.source, row.task, row.queue, row.lane) == ("news", "tasks.work", "io", "news")
    assert (row.tenant, row.agent, row.worker, row.message) == ("default", "fern", "small@night", "message-1")
    assert (row.nominal, row.ready, row.created, row.started, row.ended) == (nine,) * 5
    assert (row.state, row.reason, row.lease) == (State.DONE, "", None)
    assert (row.attempts, row.retries, row.token, row.cost) == (0, 0, 1, 4100)
    assert row.deadline == timedelta(minutes=5)
    assert row.payload == {"feed": "garden"}
    assert row.checkpoint == {"read": 12}
    assert row.result == {"read": 12, "new": 14}
    assert [(line.at, line.what, line.detail) for line in row.story] == [
        (nine, "recorded", "its time came"),
        (nine, "claimed", "small@night message-1"),
        (nine, "checkpoint", ""),
        (nine, "done", ""),
    ]


async def test_a_run_that_is_carried_out_tells_who_has_it_and_till_when(ledger: Ledger) -> None:
    row = await ledger.get("shelf-a@2026-11-20T12:00:00Z")

    assert (row.worker, row.message, row.token, row.cost) == ("small@night", "message-7", 1, 321)
    assert (row.started, row.lease) == (NOON, NOON + timedelta(seconds=30))
    assert row.checkpoint == {"shelf": ["a", "b"], "page": 3}


async def test_the_story_of_a_run_that_was_lost_and_replayed_is_whole(ledger: Ledger) -> None:
    row = await ledger.get("lost-worker@2026-11-15T10:45:00Z")

    lost = [
        step
        for n in range(3)
        for step in (("hinted", "io"), ("claimed", f"gone{n}@night m"), ("checkpoint", ""))
    ]
    lost.insert(3, ("returned", "lost by gone0@night"))
    lost.insert(7, ("returned", "lost by gone1@night"))
    assert [(line.what, line.detail) for line in row.story] == [
        ("recorded", "its time came"),
        *lost,
        ("failed", "gave up after 3 attempts: lost by gone2@night"),
        ("replayed", "ann"),
        ("claimed", "small@night message-1"),
        ("done", ""),
    ]
    assert (row.state, row.token, row.cost, row.checkpoint) == (State.DONE, 4, 60, {"step": 2})


async def test_a_dead_run_is_replayed_with_its_history(ledger: Ledger, clock: Clock) -> None:
    dead = await ledger.get("fragile@2026-11-15T10:00:00Z")
    assert (dead.state, dead.attempts, dead.token) == (State.FAILED, 3, 3)
    assert dead.reason == "gave up after 3 attempts: ZeroDivisionError: it broke"

    await requeue_run(ledger, dead.id, by="bob")
    claimed = await claim(ledger, dead.id)
    assert (claimed.attempts, claimed.token, claimed.payload) == (0, 4, {"n": 1})
    assert await ledger.settle(claimed.id, claimed.token, done(), cost=9) is State.DONE

    after = await ledger.get(dead.id)
    assert (after.state, after.ended, after.cost) == (State.DONE, clock.now, 15 + 9)
    assert after.story[: len(dead.story)] == dead.story
    assert [line.what for line in after.story[len(dead.story) :]] == ["replayed", "claimed", "done"]
    assert dead.id not in [row.id for row in await ledger.ended_runs(State.FAILED)]


async def test_a_run_that_waited_is_carried_out(ledger: Ledger, clock: Clock) -> None:
    claimed = await claim(ledger, "waiting@2026-11-20T12:00:00Z")
    assert claimed.payload == {"for": "a worker"}
    assert (claimed.started, claimed.lease) == (clock.now, clock.now + timedelta(seconds=30))

    assert await ledger.settle(claimed.id, claimed.token, done(late=True), cost=5) is State.DONE
    assert (await ledger.ended_runs(State.DONE, limit=1))[0].id == claimed.id
    assert await ledger.counts() == {"open": 17, "done": 112, "skipped": 3, "failed": 4}
    assert (await ledger.tally(clock.now.date()))["waiting", "cost"] == 5


async def test_a_claim_of_before_is_settled_and_one_of_another_is_refused(ledger: Ledger) -> None:
    run = "shelf-a@2026-11-20T12:00:00Z"
    assert await ledger.claim(run, worker="later@night", message="later") == "busy"
    assert await ledger.claim("shelf-b@2026-11-20T12:00:00Z", worker="w", message="m") == "lane"

    assert await ledger.settle(run, 1, done(), cost=321) is State.DONE
    # Whoever waited for its lane is next.
    assert (await claim(ledger, "shelf-b@2026-11-20T12:00:00Z")).lane == "shelf"


async def test_a_run_whose_worker_was_told_to_stop_still_is(ledger: Ledger) -> None:
    assert await ledger.renew("stopping@2026-11-20T12:00:00Z", 1) == "cancelled by bob"


async def test_the_pulse_goes_on_and_takes_back_a_run_whose_lease_has_lapsed(
    ledger: Ledger, redis: Redis, keys: Keys
) -> None:
    pulse = await read_pulse(redis, keys)
    assert (pulse.until, pulse.held) == (at("20T12:00:10"), True)
    assert not (await ledger.look("another")).on_shift

    look = await ledger.look(pulse.holder)

    assert [(hint.run_id, hint.task, hint.queue) for hint in look.hints] == [
        ("waiting@2026-11-20T12:00:00Z", "tasks.work", "io"),
        ("delivery:prompt:otto@2026-11-20T12:00:00Z/0@1", "tasks.deliveries.send", "io"),
        ("crowd@2026-11-20T11:59:59Z", "tasks.work", "io"),
        ("lapsed@2026-11-20T12:00:00Z", "tasks.work", "io"),
    ]
    back = await ledger.get("lapsed@2026-11-20T12:00:00Z")
    assert (back.state, back.attempts, back.checkpoint, back.cost) == (State.WAITING, 1, {"half": True}, 7)
    assert (await claim(ledger, back.id)).token == 2


async def test_the_line_of_a_tenant_that_has_more_than_its_share_goes_on(
    redis: Redis, keys: Keys, clock: Clock
) -> None:
    strict = Ledger(
        redis, keys, Ledger(redis, keys).rules.for_lease(timedelta(seconds=30), share=1), clock=clock
    )
    pulse = await read_pulse(redis, keys)

    look = await strict.look(pulse.holder)

    # One of the two is in flight already.
    assert not any(hint.run_id.startswith("crowd@") for hint in look.hints)


async def test_what_was_not_recorded_is_known_with_the_reason(ledger: Ledger) -> None:
    [overlap] = await ledger.skips("slow")
    assert (overlap.reason, overlap.detail) == ("overlap", "slow@2026-11-15T10:46:33Z is still open")
    assert [(skip.reason, skip.times) for skip in await ledger.skips("census")] == [
        ("missed", 131),
        ("missed", 239),
    ]


async def test_the_counts_of_a_day_are_kept_by_source(ledger: Ledger) -> None:
    tally = await ledger.tally(date(2026, 11, 15))
    assert {kind: n for (source, kind), n in tally.items() if source == "lost-worker"} == {
        "claimed": 4,
        "cost": 60,
        "done": 1,
        "failed": 1,
        "lost": 3,
    }


# Jobs, schedules, and how everything stands


async def test_jobs_are_listed_with_what_each_did_and_does_next(ledger: Ledger) -> None:
    jobs = await read_jobs(ledger)

    assert {job.name: job.next for job in jobs if job.on} == {
        "channel_heartbeat": at("20T12:00:22"),
        "channel_summarization": at("20T18:00:30"),
        "graph_census": at("20T12:00:28"),
        "ledger_retention": at("20T12:00:24"),
        "memory_retention": at("20T18:00:25"),
        "pulse": at("20T12:00:08"),
        "startup_channel_backfill": at("20T12:00:21"),
    }
    assert {job.name: job.why for job in jobs if not job.on} == {
        "gemini_key_probe": "paused by bob; `nightshift jobs resume gemini_key_probe`",
        "model_probe": "switch model_probe is off",
        "shadow_report": "switch shadow is off",
    }
    census = next(job for job in jobs if job.name == "graph_census")
    assert (census.queue, census.cadence) == ("graph", "every 15 minutes")
    assert census.last
    assert (census.last.run, census.last.state) == ("job:graph_census@2026-11-17T18:00:28Z", State.DONE)
    assert census.last.ended == at("17T18:00:28.026")


async def test_schedules_are_listed_and_one_that_cannot_be_read_is_not(ledger: Ledger) -> None:
    page = await read_schedules(ledger, limit=10)
    assert [(each.id, each.cadence, each.tenant, each.next) for each in page.rows] == [
        ("census", "every 30 minutes", "default", at("20T12:00:10")),
        ("north-news", "every 6 hours", "north side", at("20T12:00:10")),
        ("morning", "every day at 08:00, Europe/Berlin time", "default", at("21T07:00:00")),
    ]


async def test_a_schedule_comes_due_and_becomes_a_run(
    ledger: Ledger, redis: Redis, keys: Keys, clock: Clock
) -> None:
    clock.now = at("20T12:00:10")
    look = await ledger.look((await read_pulse(redis, keys)).holder)
    assert [due.id for due in look.due] == ["census", "north-news"]

    await record_due(ledger, look.due, now=clock.now)

    north = await ledger.get("north-news@2026-11-20T12:00:10Z")
    assert (north.task, north.queue, north.tenant, north.agent) == (
        "tasks.graph.count",
        "graph",
        "north side",
        "otto",
    )
    assert north.deadline == timedelta(minutes=2)
    page = await read_schedules(ledger, limit=10)
    assert {each.id: each.next for each in page.rows} == {
        "census": at("20T12:30:10"),
        "north-news": at("20T18:00:10"),
        "morning": at("21T07:00:00"),
    }


async def test_what_comes_next_is_told_in_order(ledger: Ledger, clock: Clock) -> None:
    coming = await read_upcoming(ledger, after=clock.now, limit=5)
    assert [(each.source, each.at) for each in coming] == [
        ("job:pulse", at("20T12:00:08")),
        ("census", at("20T12:00:10")),
        ("north-news", at("20T12:00:10")),
        ("job:startup_channel_backfill", at("20T12:00:21")),
        ("job:channel_heartbeat", at("20T12:00:22")),
    ]


async def test_the_overview_tells_who_is_there_and_what_the_day_was(
    ledger: Ledger, switches: Switches, redis: Redis, keys: Keys
) -> None:
    overview = await read_overview(ledger, switches, AgentLiveness(redis, keys))

    assert (overview.ready, overview.why, overview.warnings) == (True, [], [])
    assert {
        each.kind: (each.name.partition("@")[2][:5], each.alive) for each in overview.processes
    } == dict.fromkeys(("beat", "worker", "supervisor", "web"), ("night", True))
    assert overview.open == {"waiting": 13, "running": 5}
    assert overview.today == {"done": 25, "skipped": 0, "failed": 0, "cost": 2378}
    assert overview.paused == {"gemini_key_probe": "bob"}
    assert [(bot.agent, bot.tenant, bot.platform, bot.alive) for bot in overview.bots] == [
        ("fern", "default", "discord", True),
        ("otto", "north side", "chat", True),
    ]


async def test_switches_that_were_flipped_stay_so(switches: Switches) -> None:
    board = await switches.read()
    flipped = {
        "chat_llm_enabled": True,
        "channel_heartbeat_enabled": True,
        "model_probe": False,
        "shadow": False,
        "shadow_calls": True,
    }
    assert board.on.items() >= flipped.items()
    assert board.paused == {"gemini_key_probe": "bob"}


async def test_a_freeze_holds_until_it_is_thawed(freeze: Freeze, purse: Purse) -> None:
    assert await freeze.state() == Freezing("bob", "noon", at("20T12:00:02.125"))
    with pytest.raises(Frozen):
        await purse.reserve(Payer("r", "s"), model="m", ceiling=1)

    await freeze.thaw("ann")
    assert await freeze.state() is None
    await purse.reserve(Payer("r", "s"), model="m", ceiling=1)


WHY_RUNS = {
    "shelf-b@2026-11-20T12:00:00Z": [
        "shelf-a@2026-11-20T12:00:00Z is being carried out, and runs of shelf go one after the other.",
        "The pulse has not handed it out yet; it does so within moments of its time.",
    ],
    "fragile@2026-11-15T10:00:00Z": [
        "It is failed since 2026-11-15 10:22:00 UTC, 5 d 1 h ago by small@night in 0 ms, for $0.000015: "
        "gave up after 3 attempts: ZeroDivisionError: it broke; "
        "`nightshift runs requeue fragile@2026-11-15T10:00:00Z` lets it try again.",
    ],
    "lapsed@2026-11-20T12:00:00Z": [
        "hasty@night carries it out since 2026-11-20 12:00:00 UTC, for 3.8 s; attempt 1.",
        "Its claim lapsed 1.8 s ago; the pulse gives it to somebody else.",
        "hasty@night gives no sign of life; somebody else takes it over after 2026-11-20 12:00:02 UTC.",
    ],
    "work:heartbeat:discord:lobby@2026-11-20T12:00:00Z": [
        "It waits for the bot of agent fern to ask for it, and is skipped in 23 h 59 min; "
        "the bot is there, on discord (1).",
    ],
}


@pytest.mark.parametrize("run", WHY_RUNS)
async def test_why_a_run_stands_where_it_does_is_told(
    ledger: Ledger, deliveries: Deliveries, redis: Redis, keys: Keys, run: str
) -> None:
    answer = await why_run(ledger, deliveries, AgentLiveness(redis, keys), redis, run)
    assert answer.says == WHY_RUNS[run]


async def test_what_became_of_the_slot_of_a_job_is_told(ledger: Ledger) -> None:
    ran = await why_job(ledger, "channel_summarization")
    assert ran.run == "job:channel_summarization@2026-11-20T10:00:30Z"
    assert (ran.slot, ran.next) == (at("20T10:00:30"), at("20T18:00:30"))
    missed = await why_job(ledger, "graph_census")
    assert missed.says[1] == (
        "Its slot of 2026-11-20 11:45:28 UTC was missed with 262 others from 2026-11-17 18:15:28 UTC "
        "to 2026-11-20 11:45:28 UTC, found when beat came back at 2026-11-20 11:59:15 UTC."
    )


async def test_why_a_channel_is_not_visited_is_told(
    ledger: Ledger, messages: Messages, switches: Switches, freeze: Freeze
) -> None:
    channels = messages.channels
    frozen = await why_channel(ledger, channels, await switches.read(), SETTINGS.heartbeat, DM)
    assert frozen.says[:2] == [
        "discord:dm-1 is not visited: bob froze every call and send at 2026-11-20 12:00:02 UTC: noon; "
        "`nightshift thaw` opens it.",
        "Its visit of 2026-11-20 12:00:01 UTC was skipped by the rule paused: by ann.",
    ]
    await freeze.thaw("ann")
    paused = await why_channel(ledger, channels, await switches.read(), SETTINGS.heartbeat, DM)
    assert paused.says[0] == "discord:dm-1 is not visited: it is paused by ann."


# Channels and messages


async def test_channels_are_listed_with_what_is_known_and_set_of_them(redis: Redis, keys: Keys) -> None:
    page = await Channels(redis, keys).page(limit=20)

    assert [each.ref for each in page.rows] == [LOBBY, HALL, READING, YARD, GARDEN, ATTIC, DM, NIGHT]
    known = {each.ref: each for each in page.rows}
    assert known[ATTIC] == Channel(
        ATTIC,
        name="Attic",
        server_id="s1",
        server_name="The House",
        members=3,
        agent="fern",
        audience="server:discord:s1",
        quiet_hours="21:00-07:30",
        last_message_at=at("17T12:00:00"),
        last_human_at=at("17T12:00:00"),
        digest="248533965884422",
    )
    assert (known[DM].is_dm, known[DM].paused_by, known[DM].members) == (True, "ann", 2)
    assert (known[HALL].tenant, known[HALL].agent) == ("north side", "otto")
    assert known[YARD].last_human_at == at("12T18:00:10")


async def test_messages_are_read_in_order_as_they_stand_now(messages: Messages) -> None:
    said = await messages.last(LOBBY, 50)

    assert [(each.id, each.user_id, each.text) for each in said] == [
        ("m1", "ada", "The beans are up. All of them!"),
        ("m2", "ben", "Mine drowned. How often do you water?"),
        ("w1", "ada", "Every other evening, and never the leaves!"),
        ("m4", "ada", "Day 14: the beans grow."),
        ("m5", "ada", "Day 15: the beans grow."),
        ("m6", "ben", "The compost comes on Friday."),
        ("late-1", "ben", "Cover them tonight!"),
        ("m10", "ada", "It froze last night, the beans did not like it."),
        ("m12", "ben", "With straw, say."),
        ("m13", "discord", "Ben pinned a message."),
        ("w3", "ada", "We said we would order the compost by Friday, did anybody?"),
        ("m14", "cleo", "I ordered it. It is on its way."),
        ("m15", "cleo", "I bring the straw on Sat"),
    ]
    known = {each.id: each for each in said}
    assert (known["m1"].edited_at, known["m1"].version, known["m1"].embedded) == (
        at("20T12:00:02.125"),
        2,
        "",
    )
    assert (known["m4"].embedded, known["m4"].at) == ("lexical-v1", at("14T09:03:00"))
    # Said before the server was let in, and after.
    assert (known["m5"].audience, known["m6"].audience) == ("discord:lobby", "server:discord:s1")
    assert (known["m12"].reply_to, known["m13"].origin) == ("m10", Origin.SYSTEM)
    assert (known["m15"].user_name, known["m15"].cut, known["m14"].cut) == ("Cleo", 30, 0)
    taken_back = (await messages.find(LOBBY, ["m3"]))["m3"]
    assert (taken_back.deleted, taken_back.text, taken_back.version) == (True, "", 2)


async def test_what_was_sent_by_us_is_known_for_our_own(messages: Messages) -> None:
    said = {each.id: each for each in await messages.last(HALL, 50)}

    assert [id for id, each in said.items() if each.own] == [
        "msg_53b26015d7bd647771518fce76f25027",
        "sent-2df380",
        "sent-61f6f4",
        "early",
    ]
    assert (said["early"].user_id, said["early"].origin) == ("otto", Origin.HEARTBEAT)
    assert await messages.own_users() == {
        UserRef("discord", "fern-bot"): "fern",
        UserRef("local", "nightshift"): "default",
    }
    echo = Observed(
        MessageKind.NEW, HALL, "sent-2df380", "otto", "Otto", "The gate opens at seven.", at("16T09:00:00")
    )
    assert (await messages.observe([echo], tenant="north side", agent="otto")).outcomes == ["echo"]


async def test_messages_that_came_late_are_in_no_summary_yet(messages: Messages) -> None:
    assert [each.id for each in await messages.late(LOBBY, (1e15, ""))] == ["late-1"]


async def test_messages_that_wait_for_a_vector_still_wait(
    messages: Messages, ledger: Ledger, redis: Redis, keys: Keys
) -> None:
    waiting = await unembedded(messages, 10)
    assert [(each.id, each.deleted) for each in waiting] == [
        ("m1", False),
        ("m3", True),
        ("m15", False),
        ("m14", False),
    ]
    queue = EmbeddingQueue(ledger, messages)
    assert await queue.strays.take(NOON + timedelta(minutes=1), 10) == {
        "default": ["discord:lobby never-seen"]
    }
    # The run that is to come is known, so no other is called.
    await queue.wake()
    assert (await ledger.counts())["open"] == 18
    assert await redis.smembers(keys.outdated) == {"north side"}


async def test_a_summary_is_read_with_those_before_it_and_followed_by_another(
    redis: Redis, keys: Keys, clock: Clock
) -> None:
    summaries, channel = Summaries(redis, keys, clock=clock), await Channels(redis, keys).get(HALL)
    standing = await summaries.standing(channel)
    summary = standing.summary
    assert summary
    assert summary.text == "They talked about beans, compost and the key to the shed."
    assert (summary.rests_on, summary.until, summary.messages) == (
        {"m1": 1},
        (1794819630000.0, "sent-61f6f4"),
        4,
    )
    assert (summary.audience, summary.model, summary.prompt) == ("chat:hall", "simulated/flash", "summary.v1")
    assert (standing.round, len(await summaries.before(channel))) == (3, 2)
    assert await summaries.channels_of(UserRef("chat", "nora")) == {HALL, YARD}

    # By the run that made it, which tells it again.
    assert await summaries.keep(HALL, summary, round=2) == "known"
    later = replace(summary, text="More.", run="later")
    assert await summaries.keep(HALL, later, round=2) == "stale"
    assert await summaries.keep(HALL, later, round=3) == "kept"
    assert len(await summaries.before(channel)) == 3


# Deliveries

SAID = [
    ("prompt:fern@2026-11-20T12:00:01Z/1", "requested", "Taken by its bot."),
    ("prompt:fern@2026-11-20T12:00:01Z/0", "requested", "Not yet asked for."),
    ("prompt:otto@2026-11-20T12:00:01Z/1", "requested", "Begun, and no word since."),
    ("prompt:otto@2026-11-20T12:00:01Z/0", "requested", "Second in the queue of the hall."),
    ("prompt:otto@2026-11-20T12:00:00Z/0", "requested", "First in the queue of the hall."),
    ("prompt:otto@2026-11-17T18:00:26Z/1", "sent", "The yard is dry again."),
    ("prompt:otto@2026-11-17T18:00:26Z/0", "failed", "refuse this, too"),
    ("prompt:fern@2026-11-16T09:01:20Z/0", "unknown", ""),
    ("prompt:fern@2026-11-16T09:01:10Z/0", "failed", ""),
    ("prompt:fern@2026-11-16T09:01:00Z/0", "sent", ""),
    ("prompt:otto@2026-11-16T09:00:50Z/0", "suppressed", "Kept back in shadow."),
    ("prompt:otto@2026-11-16T09:00:40Z/0", "sent", "Seen in the room."),
    ("prompt:otto@2026-11-16T09:00:30Z/0", "sent", "Sent twice, knowingly."),
    ("prompt:otto@2026-11-16T09:00:20Z/0", "unknown", "Did this arrive?"),
    ("prompt:otto@2026-11-16T09:00:10Z/0", "failed", "refuse this, please"),
    ("prompt:otto@2026-11-16T09:00:00Z/0", "sent", "The gate opens at seven."),
]


async def test_deliveries_are_listed_by_their_last_change(deliveries: Deliveries) -> None:
    page = await read_deliveries(deliveries, WantedDeliveries(), limit=100)

    asked_for = [each for each in page.rows if each.run.startswith("prompt:")]
    assert [(each.id, str(each.state), each.text) for each in asked_for] == SAID
    assert await deliveries.counts() == {
        DeliveryState.REQUESTED: 5,
        DeliveryState.SENT: 12,
        DeliveryState.FAILED: 3,
        DeliveryState.UNKNOWN: 2,
        DeliveryState.SUPPRESSED: 1,
    }
    hall = await read_deliveries(deliveries, WantedDeliveries(channel=HALL), limit=100)
    assert len(hall.rows) == 9


async def test_deliveries_tell_all_that_was_stored_of_them(deliveries: Deliveries) -> None:
    twice = await deliveries.get("prompt:otto@2026-11-16T09:00:30Z/0")
    assert (twice.times, twice.message_id, twice.sent) == (2, "sent-61f6f4", at("16T09:00:30"))
    assert (twice.by, twice.tenant, twice.agent, twice.audience) == ("us", "north side", "otto", "chat:hall")
    assert twice.sending_run == "delivery:prompt:otto@2026-11-16T09:00:30Z/0@2"
    second = await deliveries.get("prompt:otto@2026-11-20T12:00:01Z/0")
    assert (second.reply_to, second.created) == ("m1", at("20T12:00:01.015"))
    reasons = {
        id: (await deliveries.get(id)).reason for id, state, _ in SAID if state in ("failed", "unknown")
    }
    assert reasons == {
        "prompt:otto@2026-11-17T18:00:26Z/0": "chat answered 400",
        "prompt:fern@2026-11-16T09:01:20Z/0": "its bot took it 3 times and never said what became of it",
        "prompt:fern@2026-11-16T09:01:10Z/0": "Missing Permissions",
        "prompt:otto@2026-11-16T09:00:20Z/0": "the answer was lost",
        "prompt:otto@2026-11-16T09:00:10Z/0": "the room is read-only",
    }


async def sent_of(deliveries: Deliveries) -> Sequence[str]:
    page = await read_deliveries(deliveries, WantedDeliveries(states=[DeliveryState.SENT]), limit=100)
    return [each.id for each in page.rows]


async def test_what_is_unknown_is_resolved_by_hand(deliveries: Deliveries, ledger: Ledger) -> None:
    unknown = "prompt:otto@2026-11-16T09:00:20Z/0"
    again = await resolve(deliveries, unknown, DeliveryVerdict.RESEND, by="bob")
    assert (again.state, again.times) == (DeliveryState.REQUESTED, 2)
    # It stands behind the two that waited already, so it has no run yet.
    assert await ledger.find(again.sending_run) is None

    marked = await resolve(deliveries, "prompt:fern@2026-11-16T09:01:20Z/0", DeliveryVerdict.SENT, by="bob")
    assert (marked.state, marked.reason) == (DeliveryState.SENT, "marked as sent by bob")
    counts = await deliveries.counts()
    assert (counts[DeliveryState.REQUESTED], counts[DeliveryState.UNKNOWN]) == (6, 0)
    assert (counts[DeliveryState.SENT], len(await sent_of(deliveries))) == (13, 13)


async def test_a_queue_of_deliveries_goes_on_in_its_order(deliveries: Deliveries, ledger: Ledger) -> None:
    first, second = "prompt:otto@2026-11-20T12:00:00Z/0", "prompt:otto@2026-11-20T12:00:01Z/0"
    run = (await deliveries.get(first)).sending_run
    claimed = await claim(ledger, run)
    assert claimed.payload == {"delivery": first}
    assert await deliveries.claim(first, run=run, claim="c", repeatable_for=timedelta(0))

    await deliveries.sent(first, message_id="x", claim="c")

    following = await ledger.get((await deliveries.get(second)).sending_run)
    assert (following.state, following.payload) == (State.WAITING, {"delivery": second})


async def test_what_was_begun_and_left_without_a_word_is_not_sent_again(
    deliveries: Deliveries, ledger: Ledger, clock: Clock
) -> None:
    begun = await deliveries.get("prompt:otto@2026-11-20T12:00:01Z/1")
    assert begun.claimed == "delivery:prompt:otto@2026-11-20T12:00:01Z/1@1#1"
    clock.move(minutes=1)
    run = await claim(ledger, begun.sending_run)

    assert not await deliveries.claim(begun.id, run=run.id, claim="another", repeatable_for=timedelta(0))
    assert (await deliveries.get(begun.id)).state is DeliveryState.UNKNOWN


async def test_a_bot_is_handed_what_it_was_to_say_once_nothing_is_frozen(
    deliveries: Deliveries, messages: Messages, freeze: Freeze
) -> None:
    post = BotPost(deliveries, freeze, recording_in(messages), "default", "fern")
    assert await post.pull(platform="discord") == []
    await freeze.thaw("ann")

    [handed] = await post.pull(platform="discord")
    assert (handed.id, handed.text, handed.offers) == (
        "prompt:fern@2026-11-20T12:00:01Z/0",
        "Not yet asked for.",
        1,
    )
    # The other one the bot has already, and says now that it is said.
    said = await post.sent("prompt:fern@2026-11-20T12:00:01Z/1", message_id="b2")
    assert said.state is DeliveryState.SENT
    assert (await messages.find(LOBBY, ["b2"]))["b2"].own


# Work for bots


async def test_a_bot_comes_for_the_work_that_waits_for_it(ledger: Ledger, deliveries: Deliveries) -> None:
    work = await PullWork(ledger, deliveries).claim(FERN, by="bot fern/1", call="later")

    assert isinstance(work, PulledWork)
    assert work.row.id == "work:heartbeat:discord:lobby@2026-11-20T12:00:00Z"
    assert work.assignment.instruction == "Ask whether anybody ordered the compost."
    assert (work.assignment.channel, work.assignment.cause) == (LOBBY, "heartbeat")


async def test_a_bot_answers_the_work_that_it_had_taken(ledger: Ledger, deliveries: Deliveries) -> None:
    run, pulled = "work:heartbeat:chat:hall@2026-11-20T12:00:00.005Z", PullWork(ledger, deliveries)

    assert await pulled.renew(OTTO, run, 1) is None
    said = await pulled.reply(OTTO, run, 1, "At seven.")

    assert (said.channel, said.text, said.kind, said.tenant) == (HALL, "At seven.", "heartbeat", "north side")
    assert (await ledger.get(run)).state is State.DONE
    # Its lane is free for what waits for the same agent.
    assert isinstance(await pulled.claim(OTTO, by="bot otto/1", call="next"), PulledWork)


async def test_bots_that_gave_a_sign_of_life_are_there(redis: Redis, keys: Keys, clock: Clock) -> None:
    liveness = AgentLiveness(redis, keys, clock=clock)
    assert await liveness.is_alive(FERN, LOBBY)
    assert await liveness.user_ids(OTTO, "chat") == {"@otto"}
    [fern, _] = await liveness.bots()
    assert (fern.process, fern.channels, fern.heard) == ("1", None, at("20T12:00:02.125"))
    assert fern.connected_since == at("20T11:58:02.125")


# Heartbeats


async def test_the_beats_of_channels_stand_as_they_did(visits: Visits) -> None:
    garden, night, yard = [await visits.find(ref) for ref in (GARDEN, NIGHT, YARD)]
    assert garden and night and yard  # noqa: PT018
    assert (garden.failures, garden.own_failures, garden.next_at) == (2, 1, at("20T12:00:03"))
    assert garden.interval == timedelta(minutes=10)
    assert garden.starts == (at("12T18:00:40.632"), at("17T18:00:26.286"))
    assert garden.acts == (
        Act(
            at("17T18:00:27.214"),
            "heartbeat:local:garden@2026-11-17T18:00:26.286Z",
            ("b31e520b63fc8fe9", "e46a00fda750e6db"),
            "a promise",
        ),
    )
    assert (night.next_at, night.suspended_at) == (None, at("20T12:00:01.020"))
    assert (yard.needs, yard.digest, yard.unchanged) == (1234, "175931411657184", 2)
    assert (yard.deferred, yard.deferred_for) == (1, "a person wrote 0 ms ago, and has 1 s to go on")
    assert yard.thought_at == at("12T18:00:40.720")
    assert await visits.count() == 7


async def test_a_beat_that_was_handed_out_is_handed_out_again(
    ledger: Ledger, redis: Redis, keys: Keys, clock: Clock
) -> None:
    clock.now = NOON + timedelta(minutes=1)
    look = await ledger.look((await read_pulse(redis, keys)).holder, visits=True)

    assert [(beat.channel, beat.generation, beat.at) for beat in look.visits] == [
        ("local:garden", 6, at("20T12:00:03"))
    ]


async def test_a_person_brings_a_suspended_channel_back(visits: Visits) -> None:
    await visits.touched(NIGHT)
    night = await visits.find(NIGHT)
    assert night
    assert night.next_at
    assert night.suspended_at is None


async def test_rules_that_a_person_changed_hold(redis: Redis, keys: Keys) -> None:
    rules = await RuleBook(redis, keys, HeartbeatRules()).read()
    assert rules == HeartbeatRules(interval=timedelta(minutes=10), acts_per_day=6)


async def test_the_view_of_a_channel_tells_its_visits_that_were_not(
    ledger: Ledger, messages: Messages, visits: Visits
) -> None:
    view = await view_channel(ledger, messages, visits, LOBBY)
    assert view.messages == 18
    assert [(skip.reason, skip.times, skip.nominal) for skip in view.skips] == [
        ("missed", 395, at("17T18:10:08.494")),
        ("budget", 1, at("17T18:00:26.308")),
        ("missed", 719, at("12T18:10:58.774")),
    ]


# Money

COSTS_OF_DAYS = [
    ("2026-11-20", 2579, 3),
    ("2026-11-19", 4000, 2),
    ("2026-11-17", 15652, 9),
    ("2026-11-15", 3100, 2),
    ("2026-11-14", 4100, 1),
    ("2026-11-13", 1500, 2),
    ("2026-11-12", 15476, 17),
]
COSTS_OF_AGENTS = [
    ("fern", 23051, 12, 56962, 18443),
    ("default", 13260, 13, 5643, 329),
    ("otto", 10070, 10, 12510, 3375),
    # Of none: the probe of the model.
    ("", 26, 1, 10, 1),
]


async def test_the_books_of_each_day_add_up(redis: Redis, keys: Keys) -> None:
    days = await read_costs(redis, keys, Listed.DAY, until=NOON.date(), days=9)
    assert [(row.name, row.cost, row.calls) for row in days] == COSTS_OF_DAYS
    [today] = await read_books(redis, keys, [NOON.date()])
    for level in (Level.SOURCE, Level.TENANT, Level.MODEL, Level.JOB):
        assert sum(spent.cost for (at_level, _), spent in today.items() if at_level is level) == 2579


async def test_costs_are_listed_by_who_caused_them(redis: Redis, keys: Keys) -> None:
    agents = await read_costs(redis, keys, Listed.AGENT, until=NOON.date(), days=9)
    assert [
        (row.name, row.cost, row.calls, row.tokens_in, row.tokens_out) for row in agents
    ] == COSTS_OF_AGENTS


async def test_the_budget_tells_what_is_spent_reserved_and_capped(ledger: Ledger, caps: Caps) -> None:
    budget = await read_budget(ledger, caps)

    assert (budget.day.spent, budget.day.reserved, budget.day.cap) == (2579, 777, 2_000_000)
    accounts = {(each.level, each.name): (each.spent, each.reserved, each.cap) for each in budget.by}
    assert accounts[Level.AGENT, "fern"] == (321, 777, 10_000)
    assert accounts[Level.TENANT, "default"] == (2579, 777, 900_000)
    assert accounts[Level.CHANNEL, "discord:lobby"] == (321, 777, None)


async def test_caps_that_were_changed_by_hand_hold(caps: Caps) -> None:
    assert {at: cap for at, cap in (await caps.read()).items() if cap.live} == {
        (Level.AGENT, "fern"): Cap(Level.AGENT, "fern", 10_000, live=True),
        (Level.TENANT, ""): Cap(Level.TENANT, "", 900_000, live=True),
        (Level.CHANNEL, "discord:lobby"): Cap(Level.CHANNEL, "discord:lobby", None, live=True),
    }


async def test_a_call_that_was_under_way_is_settled(
    purse: Purse, ledger: Ledger, caps: Caps, redis: Redis, keys: Keys
) -> None:
    [hold] = await text_list(redis.zrange(keys.holds, 0, -1))
    payer = Payer("shelf-a@2026-11-20T12:00:00Z", "shelf-a", agent="fern", channel="discord:lobby")

    await purse.settle(
        Hold(hold, payer, "simulated/flash", 777, "flash"), cost=500, tokens_in=9, tokens_out=9
    )

    budget = await read_budget(ledger, caps)
    assert (budget.day.spent, budget.day.reserved) == (2579 + 500, 0)
    assert await redis.hgetall(keys.reserved) == {}


async def test_a_purse_knows_what_runs_cost_and_whose_cap_is_near(purse: Purse, freeze: Freeze) -> None:
    assert await purse.estimate("flash", "news") == 3600
    assert await purse.estimate("chat", "never seen") == 923
    await freeze.thaw("ann")
    dear = Payer("news@later", "news", agent="fern")
    with pytest.raises(
        OutOfBudget, match=r"agent fern has spent \$0\.000321 today and \$0\.000777 is reserved"
    ):
        await purse.reserve(dear, model="simulated/flash", ceiling=9_000)


# Models


async def test_an_endpoint_that_was_left_alone_still_is(redis: Redis, keys: Keys, clock: Clock) -> None:
    breaker = Breaker(redis, keys, clock=clock)
    assert await breaker.pause("spare") == at("20T12:00:32.120") - clock.now
    assert await breaker.pause("main") is None


async def test_keys_that_rested_still_do(redis: Redis, keys: Keys, clock: Clock) -> None:
    made_up = [f"made-up-key-{number}" for number in ("one", "two", "three")]
    rows = await KeyPool(redis, keys, lambda: made_up, "spare", clock=clock).rows()

    assert [(row.state, row.why) for row in rows] == [
        (KeyState.EXHAUSTED, ""),
        (KeyState.INVALID, "not accepted"),
        (KeyState.OK, ""),
    ]
    assert rows[0].rests == {"simulated/pro": KeyState.EXHAUSTED, "simulated/flash": KeyState.COOLING}


# Who may use the web

BEARERS = {
    "first": (Role.ADMIN, None, None),
    "viewer": (Role.VIEWER, None, None),
    "operator": (Role.OPERATOR, None, None),
    "admin": (Role.ADMIN, None, None),
    "north": (Role.VIEWER, "north side", None),
    "fern": (Role.BOT, "default", "fern"),
    "otto": (Role.BOT, "north side", "otto"),
}


def secret_of(name: str) -> str:
    if name == "first":
        return "nst_first-token-for-tests-only-0000000000000"
    return f"nst_{name}-for-tests-only-{'0' * 20}"


@pytest.mark.parametrize("name", BEARERS)
async def test_tokens_let_their_bearers_in(redis: Redis, keys: Keys, name: str) -> None:
    token = await Tokens(redis, keys).find(secret_of(name))

    assert token
    assert (token.name, (token.role, token.tenant, token.agent)) == (name, BEARERS[name])
    assert token.scopes == token.role.scopes


async def test_a_token_may_only_what_it_was_made_for(redis: Redis, keys: Keys) -> None:
    tokens = Tokens(redis, keys)
    narrow = await tokens.find(secret_of("narrow"))
    assert narrow
    assert narrow.scopes == {Scope.METRICS}
    assert await tokens.find(secret_of("late")) is None
    assert await tokens.find(secret_of("revoked")) is None
    assert await tokens.find(secret_of("nobody")) is None


async def test_a_browser_that_signed_in_still_is(redis: Redis, keys: Keys) -> None:
    token = await Tokens(redis, keys).signed_in("cookie-for-tests-only")
    assert token
    assert token.name == "operator"


# Platforms and rooms


async def test_connections_are_known(redis: Redis, keys: Keys) -> None:
    connections = Connections(redis, keys)
    local = await connections.find("local")
    assert local
    assert local == Connection(
        True, 3, at("20T11:59:18.855"), "nightshift", "small@night 73f09255ca024c79b71f584fc9c1b57e", ""
    )
    chat = await connections.find("chat")
    assert chat
    assert (chat.up, chat.why, chat.bots) == (True, "it is only sent to", frozenset({"north side otto 1"}))


async def test_rooms_of_our_own_hold_what_was_said(redis: Redis, keys: Keys) -> None:
    local = LocalPlatform("local", redis, keys)
    assert [room.id for room in await local.servers_and_channels()] == ["reading", "garden"]
    said = await local.history("reading", limit=10)
    assert [(each.user_name, each.text) for each in said if not each.is_bot] == [
        ("Dai", "I am at chapter nine and I do not trust the captain."),
        ("Eve", "Nobody should. Wait for the lighthouse."),
    ]
    assert [each.text for each in said if each.is_bot] == ["Shall I remind you of that tomorrow?"] * 3


async def test_events_are_read_in_order(redis: Redis, keys: Keys) -> None:
    events = await read_events(redis, keys, after="0", limit=1000)

    assert len(events) == 320
    stopped = [each for each in events if each.type in ("frozen", "thawed")]
    assert [(each.type, each.at, dict(each.facts)) for each in stopped] == [
        (
            "frozen",
            at("17T11:00:00"),
            {"by": "ann", "reason": "the bill looks odd", "source": "freeze", "status": "frozen"},
        ),
        ("thawed", at("17T11:05:00"), {"by": "ann", "waited": "2", "source": "freeze", "status": "ok"}),
        (
            "frozen",
            at("20T12:00:02.125"),
            {"by": "bob", "reason": "noon", "source": "freeze", "status": "frozen"},
        ),
    ]


# Recall, and forgetting


@dataclass
class Vectors:
    vectors: Sequence[Sequence[float]]
    model: str = lexical.MODEL
    dim: int = lexical.DIMENSIONS


class Embedder:
    """The embedder that needs no model."""

    async def embed(self, texts: Sequence[str], payer: Payer) -> Vectors:
        return Vectors([lexical.embed(text) for text in texts])


def graph_of(graphs: Redis, tenant: str) -> MessageGraph:
    return MessageGraph(Graph(graphs, Keys().message_graph(tenant)))


async def test_what_was_said_is_recalled_where_it_may_be_told(messages: Messages, recalled: Redis) -> None:
    recall = Recall(messages, Embedder(), lambda tenant: graph_of(recalled, tenant))
    payer = Payer("later", "later")

    found = await recall.search("the key to the shed", ATTIC, 5, payer=payer)
    assert found.why == ""
    assert (found.messages[0].ref, found.messages[0].id) == (ATTIC, "m1")
    assert DM not in [each.ref for each in found.messages]
    # The server hears of the lobby what was said since it may.
    compost = await recall.search("compost", ATTIC, 5, payer=payer)
    assert {(each.ref, each.id) for each in compost.messages if "compost" in each.text} == {
        (LOBBY, "m6"),
        (LOBBY, "w3"),
    }


async def test_a_graph_that_was_changing_its_model_is_recalled_by_word(
    messages: Messages, recalled: Redis
) -> None:
    graph = graph_of(recalled, "north side")
    assert await graph.model() == EmbeddingModel("small-vectors", 8)
    assert len(await graph.outdated(EmbeddingModel("small-vectors", 8), 100)) == 6

    found = await Recall(messages, Embedder(), lambda tenant: graph_of(recalled, tenant)).search(
        "gate", HALL, 5, payer=Payer("later", "later")
    )
    assert found.why == "NotPossible: the messages are not embedded by lexical-v1 yet"
    assert [each.id for each in found.messages] == ["sent-2df380", "m1"]


@pytest.fixture
def forgetting(
    ledger: Ledger, messages: Messages, deliveries: Deliveries, visits: Visits, recalled: Redis, clock: Clock
) -> Forgetting:
    redis, keys = ledger.redis, ledger.keys
    vectors, summaries = VectorForgetter(recalled, messages), Summaries(redis, keys, clock=clock)
    forgetters = (
        MessageForgetter(messages),
        ReplyForgetter(messages),
        RunForgetter(ledger),
        DeliveryForgetter(deliveries),
        RoomForgetter([LocalPlatform("local", redis, keys)]),
        ReplyForgetter(messages),
        VisitForgetter(visits),
        vectors,
        SummaryForgetter(summaries),
        EventForgetter(ledger),
    )
    spoke_in = [messages.channels_of, vectors.channels_of, summaries.channels_of]
    return Forgetting(redis, keys, forgetters, spoke_in=spoke_in)


async def test_what_was_forgotten_stays_so(forgetting: Forgetting, messages: Messages, clock: Clock) -> None:
    receipts = {each.what: each for each in await forgetting.receipts()}
    mal = receipts["user discord:mal"]
    assert (mal.id, mal.by, mal.at, mal.finished) == (
        "686d156a3c98",
        "ann",
        at("17T12:01:00"),
        at("17T12:01:00"),
    )
    assert mal.counts["messages"] == 2
    assert receipts["channel discord:gone"].finished == at("17T12:01:00")

    before = [
        Observed(MessageKind.NEW, LOBBY, "old", "mal", "Mal", "I wish to be forgotten.", at("17T11:00:00")),
        Observed(
            MessageKind.NEW,
            ChannelRef("discord", "gone"),
            "old",
            "dai",
            "Dai",
            "Forgotten.",
            at("17T11:00:00"),
        ),
        Observed(MessageKind.NEW, LOBBY, "new", "mal", "Mal", "I am back.", clock.now),
    ]
    assert (await messages.observe(before, agent="fern")).outcomes == ["forgotten", "forgotten", "new"]


async def test_a_forgetting_that_was_interrupted_is_finished(
    forgetting: Forgetting, messages: Messages
) -> None:
    [open_] = [each for each in await forgetting.receipts() if each.finished is None]
    assert (open_.id, open_.what, open_.channels) == ("83f305aeb869", "user discord:eve", ("discord:night",))

    receipt = await forgetting.forget(UserRef("discord", "eve"), by="bob")

    assert (receipt.id, receipt.by, receipt.channels) == (open_.id, "bob", ())
    # Counted with what went before it was interrupted.
    assert (receipt.counts["messages"], receipt.counts["recall"], receipt.counts["summaries"]) == (1, 1, 1)


async def test_a_user_who_spoke_before_is_forgotten_everywhere(
    forgetting: Forgetting, messages: Messages, deliveries: Deliveries, recalled: Redis, clock: Clock
) -> None:
    ada = UserRef("discord", "ada")
    previewed = await forgetting.preview(ada)

    receipt = await forgetting.forget(ada, by="bob")

    assert receipt.finished == clock.now
    assert receipt.counts == {
        "messages": 7,
        "replies": 0,
        "runs": 4,
        "deliveries": 1,
        "rooms": 0,
        "heartbeats": 1,
        "recall": 8,
        "summaries": 1,
        "events": 17,
    }
    assert {name for name, number in previewed.items() if number} <= {
        name for name, number in receipt.counts.items() if number
    }
    assert [each.user_id for each in await messages.last(LOBBY, 50) if each.user_id == "ada"] == []
    assert await messages.last(DM, 50) == []
    assert await graph_of(recalled, "default").channels_of("discord:ada") == []
    assert (await deliveries.get("prompt:fern@2026-11-20T12:00:01Z/1")).text == ""
