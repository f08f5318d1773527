"""Listing, dropping and forgetting deliveries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import RefusedByPlatform, SendUnknown
from nightshift.base.refs import UserRef
from nightshift.base.subject import Subject
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.deliveries.forgetting import DeliveryForgetter
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.deliveries.retention import forget_old_deliveries
from nightshift.store.keys import Keys
from nightshift.store.pages import Place
from tests.nightshift.deliveries.conftest import OTHER, ROOM, Post

DAY = timedelta(days=1)


async def one_of_each(post: Post) -> dict[DeliveryState, Delivery]:
    """A delivery of each state, made a second apart."""
    made = []
    for number, answer in enumerate((None, RefusedByPlatform("no"), SendUnknown("lost"))):
        made.append(await post.ask(number=number))
        post.chat.answers = [answer] if answer else []
        await post.work()
        post.clock.move(seconds=1)
    await post.switches.set("shadow", on=True)
    made.append(await post.ask(number=3))
    await post.switches.set("shadow", on=False)
    post.clock.move(seconds=1)
    made.append(await post.ask(number=4, channel=OTHER, tenant="t"))
    return {row.state: row for row in [await post.deliveries.get(each.id) for each in made]}


async def listed(post: Post, wanted: WantedDeliveries, limit: int) -> list[DeliveryState]:
    """What all pages together list."""
    found: list[DeliveryState] = []
    page = await read_deliveries(post.deliveries, wanted, limit=limit)
    found += [each.state for each in page.rows]
    while page.next:
        page = await read_deliveries(post.deliveries, wanted, limit=limit, after=Place.parse(str(page.next)))
        found += [each.state for each in page.rows]
    return found


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_deliveries_are_listed_newest_first_page_by_page(post: Post, limit: int) -> None:
    await one_of_each(post)
    newest_first = ["requested", "suppressed", "unknown", "failed", "sent"]
    assert await listed(post, WantedDeliveries(), limit) == newest_first
    assert await listed(post, WantedDeliveries(channel=ROOM), limit) == newest_first[1:]
    assert await listed(post, WantedDeliveries(states=[DeliveryState.FAILED]), limit) == ["failed"]
    assert await listed(post, WantedDeliveries(channel=ROOM, states=[DeliveryState.SENT]), limit) == ["sent"]
    assert await listed(post, WantedDeliveries(tenant="t"), limit) == ["requested"]
    assert await post.deliveries.counts() == dict.fromkeys(DeliveryState, 1)


async def test_one_that_moves_on_while_it_is_read_is_listed_once(
    post: Post, redis: Redis, keys: Keys
) -> None:
    made = await post.ask()
    await redis.zadd(keys.deliveries("sent"), {made.id: 1})  # where it stood, or will stand
    assert await listed(post, WantedDeliveries(), 1) == ["requested"]


async def test_old_deliveries_are_dropped_by_state_and_age_and_open_ones_never(
    post: Post, redis: Redis, keys: Keys
) -> None:
    made = await one_of_each(post)
    now = post.clock.now + 15 * DAY
    for dropped in (2, 0):
        assert (
            await forget_old_deliveries(post.deliveries, now=now, done=14 * DAY, failed=90 * DAY) == dropped
        )
    assert await listed(post, WantedDeliveries(channel=ROOM), 9) == ["unknown", "failed"]
    assert await post.deliveries.find(made[DeliveryState.SENT].id) is None
    now += 90 * DAY
    await forget_old_deliveries(post.deliveries, now=now, done=14 * DAY, failed=90 * DAY)
    assert await listed(post, WantedDeliveries(), 9) == ["requested"]
    left = {key async for key in redis.scan_iter(f"{keys.root}deliver*")}
    (kept,) = (row for state, row in made.items() if state == "requested")
    assert left == {
        keys.delivery(kept.id),
        keys.deliveries("requested"),
        keys.deliveries_to(str(OTHER)),
        keys.sending_queue(str(OTHER)),
    }


async def test_what_was_said_in_a_channel_is_forgotten_and_what_waits_is_not_said(post: Post) -> None:
    made = await one_of_each(post)
    waiting = await post.ask("canary", number=5)
    forgetter = DeliveryForgetter(post.deliveries)
    for subject in (Subject(ROOM, (ROOM,)), Subject(UserRef("chat", "@ann"), (ROOM,))):
        expected = 5 if subject.ref == ROOM else 0
        assert await forgetter.forget(subject, dry_run=True) == expected
        assert await forgetter.forget(subject) == expected
    texts = [row.text for row in await post.deliveries.rows([each.id for each in made.values()])]
    assert texts == ["", "", "", "", "good morning"]
    gone = await post.deliveries.get(waiting.id)
    assert (gone.state, gone.reason, gone.text) == ("suppressed", "forgotten", "")
    await post.work()
    assert "canary" not in post.chat.texts
