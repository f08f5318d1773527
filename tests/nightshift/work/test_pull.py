"""Work that a bot comes for, on a real ledger."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from nightshift.agents.agent import Agent
from nightshift.base.errors import BadQuery, LostLease, NotPossible, StoreUnreachable, UnknownRun
from nightshift.controls.switches import Switches
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, NewDelivery
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import State
from nightshift.settings import Settings
from nightshift.work.pull import PulledWork, PullWork
from nightshift.work.runner import BOT_DEADLINE
from tests.nightshift.runs.model import Clock
from tests.nightshift.work.conftest import ROOM, Hand


async def ask(work: PullWork, agent: Agent) -> PulledWork:
    found = await work.claim(agent, by="bot:ann", call="c")
    assert isinstance(found, PulledWork), found
    return found


async def test_a_bot_is_given_what_was_handed_on_and_its_answer_is_said_where_it_came_from(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, deliveries: Deliveries
) -> None:
    run = await hand()
    assert await ledger.look("pulse")
    found = await ask(work, agent)
    assert (found.row.id, found.assignment.channel, found.assignment.cause) == (run, ROOM, "heartbeat")
    assert found.assignment.instruction == "Say good night."

    said = await work.reply(agent, run, found.row.token, "good night")

    assert (said.channel, said.text, said.by, said.kind) == (ROOM, "good night", "us", "heartbeat")
    row = await ledger.get(run)
    assert (row.state, row.result) == (State.DONE, {"delivery": said.id})
    assert await deliveries.find(said.id) == said


async def test_no_worker_is_ever_told_of_it(hand: Hand, ledger: Ledger, clock: Clock) -> None:
    run = await hand()
    for _ in range(30):
        assert run not in {hint.run_id for hint in (await ledger.look("pulse")).hints}
        clock.move(minutes=45)


async def test_what_is_handed_on_twice_is_done_once(work: PullWork, agent: Agent, hand: Hand) -> None:
    run = await hand()
    found = await ask(work, agent)
    with pytest.raises(AssertionError, match="None"):
        await ask(work, agent)
    await work.decline(agent, run, found.row.token, "")
    with pytest.raises(AssertionError, match="None"):
        await ask(work, agent)


async def test_many_processes_of_a_bot_never_get_the_same(work: PullWork, agent: Agent, hand: Hand) -> None:
    await hand()
    found = await asyncio.gather(*(work.claim(agent, by=f"bot:{n}", call="c") for n in range(20)))
    assert len([each for each in found if each]) == 1


async def test_an_agent_does_one_thing_at_a_time_in_the_order_in_which_it_came(
    work: PullWork, agent: Agent, hand: Hand, clock: Clock
) -> None:
    runs = []
    for source in ("heartbeat:x", "heartbeat:y"):
        runs.append(await hand(source))
        clock.move(seconds=1)
    first = await ask(work, agent)
    assert first.row.id == runs[0]
    assert await work.claim(agent, by="bot:ann", call="c") is None
    await work.reply(agent, runs[0], first.row.token, "one")
    assert (await ask(work, agent)).row.id == runs[1]


async def test_work_of_another_agent_or_tenant_is_not_there(work: PullWork, agent: Agent, hand: Hand) -> None:
    run = await hand()
    found = await ask(work, agent)
    for stranger in (replace(agent, name="bob"), replace(agent, tenant="b")):
        assert await work.claim(stranger, by="bot:bob", call="c") is None
        for attempt in (
            work.renew(stranger, run, found.row.token),
            work.reply(stranger, run, found.row.token, "mine"),
            work.decline(stranger, run, found.row.token, ""),
        ):
            with pytest.raises(UnknownRun):
                await attempt
    with pytest.raises(UnknownRun):
        await work.decline(agent, "heartbeat:x@2026-11-20T12:00:00Z", 1, "")  # a run, but no work


async def test_work_of_a_bot_that_dies_is_offered_again_until_its_attempts_are_spent(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock
) -> None:
    run = await hand()
    for attempt in range(3):
        found = await ask(work, agent)
        assert found.row.attempts == attempt
        clock.move(seconds=31)
        await ledger.look("pulse")
    row = await ledger.get(run)
    assert (row.state, row.reason) == (State.FAILED, "gave up after 3 attempts: lost by bot:ann")
    assert await work.claim(agent, by="bot:ann", call="c") is None


async def test_who_renews_keeps_the_work_but_not_for_ever(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    began = clock.now
    while clock.now + timedelta(seconds=20) <= began + BOT_DEADLINE:
        clock.move(seconds=20)
        assert await work.renew(agent, run, token) is None
        await ledger.look("pulse")
    clock.move(seconds=20)
    with pytest.raises(LostLease, match="thought for more than"):
        await work.renew(agent, run, token)
    row = await ledger.get(run)
    assert (row.state, row.attempts) == (State.WAITING, 1)


async def test_a_claim_that_lapsed_says_nothing_more(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock, deliveries: Deliveries
) -> None:
    run = await hand()
    old = (await ask(work, agent)).row.token
    clock.move(seconds=31)
    await ledger.look("pulse")
    new = (await ask(work, agent)).row.token
    for attempt in (
        work.renew(agent, run, old),
        work.reply(agent, run, old, "late"),
        work.decline(agent, run, old, "late"),
    ):
        with pytest.raises(LostLease):
            await attempt
    assert await deliveries.find(f"{run}/0") is None
    assert (await work.reply(agent, run, new, "in time")).text == "in time"


async def test_an_answer_that_is_given_twice_is_said_once_and_the_first_counts(
    work: PullWork, agent: Agent, hand: Hand, deliveries: Deliveries
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    first = await work.reply(agent, run, token, "once")
    again = await work.reply(agent, run, token, "twice")
    assert (again.id, again.text) == (first.id, "once")
    assert sum((await deliveries.counts()).values()) == 1


async def test_an_answer_is_said_even_if_who_took_it_died_before_saying_it(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock, deliveries: Deliveries
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    await ledger.renew(run, token, checkpoint={"text": "good night"})  # and then no more
    clock.move(seconds=31)
    await ledger.look("pulse")

    assert await work.claim(agent, by="bot:ann", call="c") is None

    said = await deliveries.get(f"{run}/0")
    assert (said.text, (await ledger.get(run)).state) == ("good night", State.DONE)


async def test_an_answer_is_stored_before_it_is_said(
    ledger: Ledger, agent: Agent, hand: Hand, work: PullWork, clock: Clock
) -> None:
    class Gone:
        async def request(self, new: NewDelivery) -> Delivery:
            raise StoreUnreachable("gone")

    run = await hand()
    token = (await ask(work, agent)).row.token
    with pytest.raises(StoreUnreachable):
        await PullWork(ledger, Gone()).reply(agent, run, token, "good night")
    assert (await ledger.get(run)).checkpoint == {"text": "good night"}


async def test_an_answer_that_cannot_be_said_is_refused_before_it_is_stored(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    for text in (" ", "x" * 40_000):
        with pytest.raises(BadQuery):
            await work.reply(agent, run, token, text)
    row = await ledger.get(run)
    assert (row.state, row.checkpoint) == (State.RUNNING, None)


async def test_a_declined_run_says_why_and_declining_twice_is_declining_once(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    await work.decline(agent, run, token, "nothing to add")
    await work.decline(agent, run, token, "again")
    row = await ledger.get(run)
    assert (row.state, row.reason) == (State.SKIPPED, "declined by its bot: nothing to add")
    with pytest.raises(NotPossible, match="has ended without an answer"):
        await work.reply(agent, run, token, "after all")


async def test_what_nobody_asks_for_within_a_day_is_skipped_and_says_so(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock
) -> None:
    run = await hand()
    await ledger.look("pulse")
    clock.move(hours=23, minutes=59)
    await ledger.look("pulse")
    assert (await ledger.get(run)).state is State.WAITING
    clock.move(minutes=1)
    await ledger.look("pulse")
    row = await ledger.get(run)
    assert (row.state, row.reason) == (State.SKIPPED, "nobody asked for it")
    assert await work.claim(agent, by="bot:ann", call="c") is None


async def test_a_person_can_cancel_and_replay_work(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    run = await hand()
    await ledger.cancel(run)
    assert await work.claim(agent, by="bot:ann", call="c") is None
    await ledger.replay(run, by="ann")
    token = (await ask(work, agent)).row.token
    await ledger.cancel(run, reason="cancelled by ann")
    assert await work.renew(agent, run, token) == "cancelled by ann"
    with pytest.raises(NotPossible, match="stopped meanwhile: cancelled by ann"):
        await work.reply(agent, run, token, "too late")
    assert (await ledger.get(run)).reason == "cancelled by ann"


async def test_what_is_offered_is_just_what_waits(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    async def offered() -> list[str]:
        return [str(run) for run in await ledger.redis.zrange(ledger.keys.work("default", "default"), 0, -1)]

    run = await hand()
    assert await offered() == [run]
    await ask(work, agent)
    assert await offered() == []
    waiting = await hand("heartbeat:y")
    assert await offered() == [waiting]
    await ledger.cancel(waiting)
    assert await offered() == []


async def test_what_is_to_be_tried_again_later_is_offered_later(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger, clock: Clock
) -> None:
    run = await hand()
    token = (await ask(work, agent)).row.token
    clock.move(seconds=20)
    await work.renew(agent, run, token)
    clock.now += BOT_DEADLINE
    row = await ledger.find(run)
    assert isinstance(row, RunRow)
    await ledger.look("pulse")  # the lease has lapsed long ago
    clock.now -= timedelta(seconds=5)  # as a run that is put back until then
    assert await work.claim(agent, by="bot:ann", call="c") == timedelta(seconds=5)


async def test_an_agent_that_speaks_for_itself_is_handed_its_own_words(
    work: PullWork, agent: Agent, hand: Hand, deliveries: Deliveries
) -> None:
    speaks = replace(agent, delivers="bot")
    run = await hand(agent=speaks)
    said = await work.reply(speaks, run, (await ask(work, speaks)).row.token, "mine")
    assert said.by == "bot"
    (offer,) = await deliveries.offer(speaks.tenant, speaks.name, holding=(), limit=10)
    assert offer.id == said.id


async def test_in_shadow_an_answer_is_written_down_and_not_said(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    await Switches(ledger.redis, ledger.keys, Settings()).set("shadow", True)
    run = await hand()
    said = await work.reply(agent, run, (await ask(work, agent)).row.token, "good night")
    assert (said.state, said.reason) == ("suppressed", "shadow")


async def test_an_agent_that_a_model_speaks_for_is_a_workers_business(
    work: PullWork, agent: Agent, hand: Hand, ledger: Ledger
) -> None:
    run = await hand(agent=replace(agent, runner="model"))
    row = await ledger.get(run)
    assert (row.queue, row.task, row.lane) == ("agents", "tasks.agents.write", agent.lane)
    assert await work.claim(agent, by="bot:ann", call="c") is None
