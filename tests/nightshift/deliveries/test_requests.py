from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadQuery, UnknownDelivery
from nightshift.base.limits import LONGEST_DELIVERY
from nightshift.deliveries.delivery import NewDelivery
from nightshift.runs.row import RunId
from nightshift.runs.states import State
from nightshift.store.keys import Keys
from tests.nightshift.deliveries.conftest import OTHER, ROOM, Post


async def test_what_a_run_wants_said_is_a_row_and_a_run_that_sends_it(post: Post) -> None:
    made = await post.ask("Hé {}*\0", agent="night", tenant="t", kind="heartbeat", reply_to="m1")

    assert (made.id, made.state) == ("heartbeat:a@2026-11-20T12:00:00Z/0", "requested")
    assert (made.text, made.audience) == ("Hé {}*\0", str(ROOM))
    assert (made.kind, made.agent, made.tenant, made.reply_to) == ("heartbeat", "night", "t", "m1")
    (run,) = await post.ledger.open_runs()
    assert (run.id, run.source, run.queue) == (f"delivery:{made.id}@1", f"delivery:{ROOM}", "io")
    assert (run.task, run.payload) == ("tasks.deliveries.send", {"delivery": made.id})
    assert (run.tenant, run.agent, run.nominal) == ("t", "night", post.clock.now)


async def test_a_run_that_asks_again_asks_for_the_same(post: Post) -> None:
    first = await post.ask("good morning")
    await post.work()
    post.clock.move(hours=1)
    again = await post.ask("said otherwise by the second attempt")
    await post.work()

    assert (again.id, again.key, again.text) == (first.id, first.key, "good morning")
    assert (again.state, again.created) == ("sent", first.created)
    assert post.chat.texts == ["good morning"]


async def test_each_thing_that_a_run_says_is_a_delivery_of_its_own(post: Post) -> None:
    one, two = await post.ask("one"), await post.ask("two", number=1)
    assert (one.id[-2:], two.id[-2:]) == ("/0", "/1")
    assert one.key != two.key


@pytest.mark.parametrize("text", ["", "  \n", "x" * (LONGEST_DELIVERY + 1)])
def test_nothing_and_far_too_much_are_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="run 'r'"):
        NewDelivery("r", ROOM, text)


async def test_the_text_is_in_no_event_and_no_run(post: Post, redis: Redis, keys: Keys) -> None:
    await post.ask("canary")
    await post.work()
    events: Any = await redis.xrange(keys.events)
    assert [event["type"] for _, event in events if "delivery" in event] == [
        "delivery_requested",
        "delivery_sent",
    ]
    assert {event["channel"] for _, event in events if "delivery" in event} == {str(ROOM)}
    runs = [row.raw for row in await post.ledger.ended_runs(State.DONE)]
    assert runs
    assert "canary" not in f"{events} {runs}"


async def test_every_key_that_is_left_is_one_that_keys_builds(post: Post, redis: Redis, keys: Keys) -> None:
    for number, channel in enumerate((ROOM, OTHER)):
        await post.ask(channel=channel, number=number)
    await post.ask(number=2, by="bot", tenant="a:b", agent="c:d")
    left = {key async for key in redis.scan_iter(f"{keys.root}deliver*")}
    asked = "heartbeat:a@2026-11-20T12:00:00Z"
    assert left == {
        *(keys.delivery(f"{asked}/{number}") for number in range(3)),
        keys.deliveries("requested"),
        *(keys.deliveries_to(str(channel)) for channel in (ROOM, OTHER)),
        *(keys.sending_queue(str(channel)) for channel in (ROOM, OTHER)),
        keys.bot_queue("a:b", "c:d"),
    }
    assert keys.bot_queue("a:b", "c") != keys.bot_queue("a", "b:c")


# Order


async def test_a_channel_gets_one_after_the_other_in_order_and_others_do_not_wait(post: Post) -> None:
    for number in range(3):
        await post.ask(f"to the room, {number}", number=number)
    await post.ask("to another", number=9, channel=OTHER)
    first, other = await post.waiting()
    assert (first[-4:], other[-4:]) == ("/0@1", "/9@1")

    await post.carry(other)
    await post.work()
    assert [out.text for out in post.chat.taken] == [
        "to another",
        *(f"to the room, {number}" for number in range(3)),
    ]


async def test_what_stands_behind_one_that_is_cancelled_is_sent_all_the_same(post: Post) -> None:
    first, second = await post.ask("first"), await post.ask("second", number=1)
    await post.ledger.cancel(RunId(first.sending_run), reason="cancelled by ann")
    await post.work()
    gone = await post.deliveries.get(first.id)
    assert (gone.state, gone.reason) == ("failed", "cancelled by ann")
    assert await post.state(second) == "sent"
    assert post.chat.texts == ["second"]


# Shadow


async def test_in_shadow_it_is_written_down_and_goes_nowhere_even_after_shadow_has_ended(post: Post) -> None:
    await post.switches.set("shadow", on=True)
    ours, theirs = await post.ask(), await post.ask(number=1, by="bot")
    await post.switches.set("shadow", on=False)
    assert [(each.state, each.reason) for each in (ours, theirs)] == [("suppressed", "shadow")] * 2
    assert (await post.ask()).state == "suppressed"
    assert await post.waiting() == []
    assert await post.deliveries.offer("default", "", holding=(), limit=9) == []


async def test_shadow_that_begins_before_it_is_sent_keeps_it_back(post: Post) -> None:
    made = await post.ask()
    await post.switches.set("shadow", on=True)
    await post.work()
    assert await post.state(made) == "suppressed"
    assert (post.chat.taken, post.remembered) == ([], [])


async def test_one_that_is_not_there_is_named(post: Post) -> None:
    with pytest.raises(UnknownDelivery, match="'r/0'"):
        await post.deliveries.sent("r/0", message_id="m", at=post.clock.now)
