from __future__ import annotations

from datetime import timedelta

import pytest

from nightshift.base.errors import NotPossible, UnknownDelivery
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.bot import BotPost
from nightshift.deliveries.deliveries import BOT_LEASE, BOT_OFFERS
from nightshift.deliveries.delivery import Delivery
from nightshift.deliveries.retention import give_up_on_bots
from tests.nightshift.deliveries.conftest import OTHER, ROOM, Post


@pytest.fixture
def bot(post: Post) -> BotPost:
    """The bot of agent night."""
    return bot_of(post, "night")


def bot_of(post: Post, agent: str, tenant: str = "default") -> BotPost:
    async def remember(delivery: Delivery) -> None:
        post.remembered.append(delivery)

    return BotPost(post.deliveries, post.freeze, remember, tenant, agent)


async def ask(post: Post, number: int = 0, **changes: object) -> Delivery:
    return await post.ask(f"text {number}", number=number, by="bot", agent="night", **changes)


async def test_a_bot_pulls_what_is_its_own_in_order_and_says_what_became_of_it(
    post: Post, bot: BotPost
) -> None:
    made = [await ask(post, number) for number in range(3)]
    await post.ask(number=8, by="bot", agent="day")
    await post.ask(number=9, agent="night")
    pulled = await bot.pull()
    assert [(each.id, each.key, each.maybe_sent) for each in pulled] == [
        (each.id, each.key, False) for each in made
    ]
    for _ in range(2):
        sent = await bot.sent(made[0].id, message_id="$1")
        assert (await bot.failed(made[1].id, "no such channel")).reason == "no such channel"
    assert (sent.state, sent.message_id) == ("sent", "$1")
    assert post.remembered[0] == sent
    with pytest.raises(NotPossible):
        await bot.sent(made[0].id, message_id="$2")
    with pytest.raises(NotPossible):
        await bot.failed(made[0].id, "after all")
    assert await bot.pull() == []
    assert post.chat.taken == []


@pytest.mark.parametrize(("agent", "tenant"), [("day", "default"), ("night", "b")])
async def test_what_is_anothers_is_answered_like_what_is_not_there(
    post: Post, bot: BotPost, agent: str, tenant: str
) -> None:
    made, ours = await ask(post), await post.ask(number=1, agent="night")
    other = bot_of(post, agent, tenant)
    assert await other.pull() == []
    for which, who in ((made.id, other), (ours.id, bot), ("gone/0", bot)):
        with pytest.raises(UnknownDelivery, match=which):
            await who.sent(which, message_id="$1")
        with pytest.raises(UnknownDelivery, match=which):
            await who.failed(which, "no")
    assert await post.state(made) == "requested"


async def test_what_a_bot_took_and_says_nothing_of_is_offered_again_under_the_same_key(
    post: Post, bot: BotPost
) -> None:
    made = await ask(post)
    assert await bot.pull()
    post.clock.move(seconds=59)
    assert await bot.pull() == []
    post.clock.move(seconds=1)
    (again,) = await bot.pull()
    assert (again.id, again.key, again.maybe_sent) == (made.id, made.key, True)


async def test_a_bot_keeps_what_it_says_that_it_holds(post: Post, bot: BotPost) -> None:
    made = await ask(post)
    await bot.pull()
    for later in (40, 40, 70):
        post.clock.move(seconds=later)
        assert await bot.pull(holding=[made.id]) == []
    assert (await bot.sent(made.id, message_id="$1")).state == "sent"


async def test_what_a_bot_takes_again_and_again_and_never_confirms_is_unknown(
    post: Post, bot: BotPost
) -> None:
    made = await ask(post)
    for _ in range(BOT_OFFERS):
        assert await bot.pull()
        post.clock.now += BOT_LEASE
    assert await bot.pull() == []
    assert await post.state(made) == "unknown"
    # Its word still counts.
    assert (await bot.sent(made.id, message_id="$1")).state == "sent"


async def test_nothing_overtakes_what_went_to_the_same_channel_before(post: Post, bot: BotPost) -> None:
    first = await ask(post)
    await bot.pull()
    second, elsewhere = await ask(post, 1), await ask(post, 2, channel=OTHER)
    assert [each.id for each in await bot.pull()] == [elsewhere.id]
    await bot.sent(first.id, message_id="$1")
    assert [each.id for each in await bot.pull()] == [second.id]


async def test_a_bot_is_handed_what_goes_to_its_platform_and_channels_in_order(
    post: Post, bot: BotPost
) -> None:
    staff = ChannelRef("staff", ROOM.id)
    there, here, other, behind = [
        await ask(post, number, channel=ref) for number, ref in enumerate((staff, ROOM, OTHER, ROOM))
    ]
    assert await bot.pull(platform="st") == []
    assert await bot.pull(platform="chat", channels=[]) == []
    assert [each.id for each in await bot.pull(platform="chat", channels=[ROOM], limit=1)] == [here.id]
    post.clock.move(seconds=40)
    assert [each.id for each in await bot.pull(platform="chat", holding=[here.id])] == [other.id]
    assert [each.id for each in await bot.pull(platform="staff")] == [there.id]
    await bot.sent(here.id, message_id="$1")
    assert [each.id for each in await bot.pull(platform="chat", channels=[ROOM])] == [behind.id]


async def test_what_waits_for_a_process_that_is_away_keeps_nothing_from_another(
    post: Post, bot: BotPost
) -> None:
    for number in range(150):
        await ask(post, number, channel=OTHER)
    made = await ask(post, 150)
    assert [each.id for each in await bot.pull(platform="chat", channels=[ROOM])] == [made.id]


async def test_shadow_that_begins_later_leaves_to_others_what_goes_to_theirs(
    post: Post, bot: BotPost
) -> None:
    made = await ask(post)
    await post.switches.set("shadow", on=True)
    await bot.pull(platform="staff")
    assert await post.state(made) == "requested"


async def test_a_bot_is_handed_a_bounded_number_at_once(post: Post, bot: BotPost) -> None:
    made = [await ask(post, number) for number in range(5)]
    one = await bot.pull(limit=3)
    assert [each.id for each in one] == [each.id for each in made[:3]]
    for each in one:
        await bot.sent(each.id, message_id="$")
    assert [each.id for each in await bot.pull(limit=3)] == [each.id for each in made[3:]]


async def test_a_frozen_bot_is_handed_nothing(post: Post, bot: BotPost) -> None:
    await ask(post)
    await post.freeze.freeze("ann")
    assert await bot.pull() == []
    await post.freeze.thaw("ann")
    assert await bot.pull()


async def test_what_a_bot_holds_stays_its_own_through_a_freeze(post: Post, bot: BotPost) -> None:
    made = await ask(post)
    await bot.pull()
    await post.freeze.freeze("ann")
    post.clock.move(seconds=40)
    await bot.pull(holding=[made.id])
    await post.freeze.thaw("ann")
    post.clock.move(seconds=40)
    assert await bot.pull() == []


async def test_shadow_that_begins_later_keeps_back_what_the_bot_has_not_seen(
    post: Post, bot: BotPost
) -> None:
    seen = await ask(post)
    await bot.pull()
    unseen = await ask(post, 1)
    await post.switches.set("shadow", on=True)
    assert await bot.pull() == []
    post.clock.now += BOT_LEASE
    assert await bot.pull() == []
    assert [await post.state(seen), await post.state(unseen)] == ["requested", "suppressed"]
    assert (await bot.sent(seen.id, message_id="$1")).state == "sent"


async def test_after_a_day_what_nobody_came_for_has_failed_and_what_was_taken_is_unknown(
    post: Post, bot: BotPost
) -> None:
    taken, ours = await ask(post), await post.ask(number=7)
    await bot.pull()
    waiting = await ask(post, 1)
    later = post.clock.now + timedelta(days=1)
    post.clock.now = later - timedelta(seconds=1)
    assert await give_up_on_bots(post.deliveries, now=post.clock.now) == 0
    recent = await ask(post, 2)
    post.clock.now = later
    for ended in (2, 0):
        assert await give_up_on_bots(post.deliveries, now=later) == ended
    states = [await post.state(each) for each in (taken, waiting, recent, ours)]
    assert states == ["unknown", "failed", "requested", "requested"]
    assert (await post.deliveries.get(waiting.id)).reason == "its bot did not come for it within a day"
