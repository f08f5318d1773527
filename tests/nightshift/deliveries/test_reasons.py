"""Why a delivery stands where it does, whoever looks."""

from __future__ import annotations

import pytest

from nightshift.deliveries.bot import BotPost
from nightshift.deliveries.delivery import Delivery
from nightshift.deliveries.listing import WantedDeliveries, read_deliveries
from nightshift.deliveries.reasons import ASKS_WITHIN, KEPT_BACK
from tests.nightshift.deliveries.conftest import Post
from tests.nightshift.deliveries.test_bot import bot_of

WAITS = "waits for the agent's bot to ask for it"


@pytest.fixture
def bot(post: Post) -> BotPost:
    return bot_of(post, "night")


async def reason(post: Post, delivery: Delivery) -> str:
    """The same in the list as for whoever asks for this one."""
    page = await read_deliveries(post.deliveries, WantedDeliveries(), limit=9)
    (listed,) = (row.reason for row in page.rows if row.id == delivery.id)
    assert (await post.deliveries.get(delivery.id)).reason == listed
    return listed


async def forget_that_it_asked(post: Post, bot: BotPost) -> None:
    """As if it had been silent since."""
    key = post.deliveries.keys.bot_asks(bot.tenant, bot.agent, "")
    assert 0 < await post.deliveries.redis.pttl(key) <= ASKS_WITHIN.total_seconds() * 1000
    await post.deliveries.redis.delete(key)


async def test_what_no_bot_asks_for_says_so_and_what_to_do(post: Post, bot: BotPost) -> None:
    ours = await post.ask(by="bot", agent="night")
    for number, others in enumerate((bot_of(post, "day"), bot_of(post, "night", tenant="b")), 1):
        await others.pull()
        theirs = await post.ask(number=number, by="bot", agent=others.agent, tenant=others.tenant)
        assert await reason(post, theirs) == WAITS
    told = await reason(post, ours)
    assert told.startswith(f"{WAITS}; no bot of agent night has asked within 1 min for what goes to chat: ")
    assert "`speak` and say when it is `connected`, as docs/adopt.md, step 3, shows" in told


async def test_what_a_bot_asks_for_on_another_platform_alone_says_that_none_asks(
    post: Post, bot: BotPost
) -> None:
    ours = await post.ask(by="bot", agent="night")
    await bot.pull(platform="irc")
    assert "; no bot of agent night has asked" in await reason(post, ours)
    await bot.pull(platform="chat")
    assert "no bot of agent night" not in await reason(post, ours)


async def test_what_a_bot_may_yet_ask_for_waits_for_it(post: Post, bot: BotPost) -> None:
    await bot.pull()
    ours = await post.ask(by="bot", agent="night")
    assert await reason(post, ours) == WAITS
    await forget_that_it_asked(post, bot)
    assert (await reason(post, ours)).startswith(f"{WAITS}; no bot of agent night ")


async def test_what_a_bot_took_says_that_it_did_and_nothing_once_it_is_sent(post: Post, bot: BotPost) -> None:
    ours = await post.ask(by="bot", agent="night")
    await bot.pull()
    assert await reason(post, ours) == "its bot has taken it once, and has not said what became of it"
    await forget_that_it_asked(post, bot)
    assert "said what became of it; no bot of agent night " in await reason(post, ours)
    await bot.sent(ours.id, message_id="m1")
    assert await reason(post, ours) == ""


async def test_what_is_sent_again_says_by_whom_and_what_it_waits_for(post: Post, bot: BotPost) -> None:
    await bot.pull()
    ours = await post.ask(by="bot", agent="night")
    await post.deliveries.send_again(await post.deliveries.failed(ours.id, "no such channel"), by="olga")
    assert await reason(post, ours) == f"sent again by olga; {WAITS}"


async def test_what_a_freeze_keeps_waiting_says_who_froze_whoever_is_to_send_it(
    post: Post, bot: BotPost
) -> None:
    ours, bots = await post.ask(), await post.ask(number=1, by="bot", agent="night")
    assert await reason(post, ours) == "", "it is on its way"
    await post.freeze.freeze("olga", "too loud")
    assert await bot.pull() == []
    for delivery in (ours, bots):
        told = await reason(post, delivery)
        assert told.startswith("olga froze every call and send at ")
        assert told.endswith(": too loud; `nightshift thaw` ends it")
    await post.freeze.thaw("olga")
    assert await reason(post, bots) == WAITS, "it asked, though in vain"


async def test_what_shadow_kept_back_says_that_it_is_never_said(post: Post) -> None:
    early = await post.ask()
    await post.switches.set("shadow", True)
    await post.work()
    late = await post.ask(number=1)
    assert [await reason(post, each) for each in (early, late)] == [KEPT_BACK, KEPT_BACK]
