from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.base.errors import BadSetting, UnknownChannel
from nightshift.base.refs import ChannelRef
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.store import pages as pages_module
from nightshift.store.events import read_events
from nightshift.store.keys import Keys
from nightshift.store.pages import Place
from tests.nightshift.runs.model import Clock

LOBBY = ChannelRef("discord", "lobby")
SECOND = timedelta(seconds=1)


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def messages(redis: Redis, keys: Keys, clock: Clock) -> Messages:
    return Messages(redis, keys, clock=clock)


@pytest.fixture
def channels(messages: Messages) -> Channels:
    return messages.channels


def said(ref: ChannelRef, at: datetime) -> Observed:
    return Observed(MessageKind.NEW, ref, "1", "ann", text="hello", at=at)


def agent(name: str, tenant: str = "default") -> Agent:
    return Agent(name, tenant, "UTC", "pull", "", "us", time(22), time(8))


async def fill(messages: Messages, now: datetime, *, used: int, known: int = 0) -> list[ChannelRef]:
    """Channels that were used, two at every instant, and such that are only known; the latest first."""
    refs = [ChannelRef("discord", f"{n:03}") for n in range(used + known)]
    await messages.observe([said(ref, now - n // 2 * SECOND) for n, ref in enumerate(refs[:used])])
    for ref in refs[used:]:
        await messages.channels.record_metadata(ref, name=f"room {ref.id}", tenant="a")
    return refs


async def test_a_channel_is_known_by_what_its_platform_tells(
    channels: Channels, messages: Messages, now: datetime
) -> None:
    told = {"name": "Lobby\n\0", "server_id": "7", "server_name": "Guild", "members": 12}
    assert await channels.record_metadata(LOBBY, **told)  # type: ignore[arg-type]
    assert await channels.get(LOBBY) == Channel(LOBBY, "Lobby", "7", "Guild", members=12)
    assert await channels.active(9) == [], "nothing was said there yet"

    await messages.observe([said(LOBBY, now)])
    assert await channels.record_metadata(LOBBY, name="Hall")
    channel = await channels.get(LOBBY)
    assert (channel.name, channel.server_id, channel.members) == ("Hall", "", None)
    assert channel.last_message_at, "what was said there is not told by the platform"


async def test_metadata_takes_no_channel_from_another_tenant(channels: Channels) -> None:
    assert await channels.record_metadata(LOBBY, name="ours", tenant="a", agent="one")
    assert not await channels.record_metadata(LOBBY, name="theirs", tenant="b")
    assert await channels.record_metadata(LOBBY, name="still ours", tenant="a", agent="other")
    channel = await channels.get(LOBBY)
    assert (channel.name, channel.tenant, channel.agent) == ("still ours", "a", "one")


async def test_the_most_recently_used_come_first(
    channels: Channels, messages: Messages, now: datetime, clock: Clock
) -> None:
    refs = await fill(messages, now, used=6, known=2)
    assert [each.ref for each in await channels.active(3)] == [refs[1], refs[0], refs[3]]
    clock.move(seconds=10)
    await messages.observe([Observed(MessageKind.NEW, refs[5], "2", "ann", text="again", at=clock.now)])
    await messages.observe(
        [Observed(MessageKind.NEW, refs[0], "0", "ann", text="older", at=now - 9 * SECOND)]
    )
    assert [each.ref for each in await channels.active(9)][:2] == [refs[5], refs[1]]
    assert len(await channels.active(99)) == 6


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
async def test_pages_put_together_are_every_channel_once_in_order(
    channels: Channels, messages: Messages, now: datetime, limit: int
) -> None:
    await fill(messages, now, used=10, known=5)
    found: list[Channel] = []
    after = None
    while True:
        page = await channels.page(limit=limit, after=after)
        found += page.rows
        if page.next is None:
            break
        assert len(page.rows) == limit
        after = Place.parse(str(page.next))  # as whoever turns the page hands it back
    assert len(found) == len({each.ref for each in found}) == 15
    activity = [each.last_message_at or datetime.fromtimestamp(0, now.tzinfo) for each in found]
    assert activity == sorted(activity, reverse=True)


async def test_a_tenant_sees_its_own_alone_over_pages_that_may_be_empty(
    channels: Channels, messages: Messages, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_module, "LOOK_THROUGH", 6)
    await fill(messages, now, used=10, known=2)
    pages = [await channels.page(limit=5, tenant="a")]
    while pages[-1].next:
        pages.append(await channels.page(limit=5, tenant="a", after=pages[-1].next))
    assert [len(page.rows) for page in pages] == [0, 2]


async def test_a_channel_is_paused_and_resumed_and_it_is_told_by_whom(
    channels: Channels, redis: Redis, keys: Keys
) -> None:
    await channels.record_metadata(LOBBY, tenant="a")
    await channels.pause(LOBBY, by="ann")
    assert (await channels.get(LOBBY)).paused_by == "ann"
    await channels.resume(LOBBY, by="bob")
    assert (await channels.get(LOBBY)).paused_by == ""
    told = [
        (event.type, event.facts["by"], event.facts["tenant"])
        for event in await read_events(redis, keys, after="0", limit=9)
    ]
    assert told == [("channel_paused", "ann", "a"), ("channel_resumed", "bob", "a")]


async def test_what_is_set_stays_and_the_rest_stays_as_it_was(channels: Channels) -> None:
    await channels.record_metadata(LOBBY, server_id="7")
    await channels.set(LOBBY, by="ann", audience="server", quiet_hours="22-08:30")
    channel = await channels.set(LOBBY, by="ann", agent=agent("other"))
    assert (channel.audience, channel.quiet_hours, channel.agent) == (
        "server:discord:7",
        "22:00-08:30",
        "other",
    )
    channel = await channels.set(LOBBY, by="ann", audience="channel", quiet_hours="never")
    assert (channel.audience, channel.quiet_hours) == ("", "never")
    assert (await channels.set(LOBBY, by="ann", quiet_hours="")).quiet_hours == ""


@pytest.mark.parametrize("hours", ["22", "22:00-", "25:00-08:00", "22:00-08:00-09:00", "always", "22 - 8"])
async def test_quiet_hours_that_mean_nothing_are_refused(channels: Channels, hours: str) -> None:
    await channels.record_metadata(LOBBY)
    with pytest.raises(BadSetting, match="no quiet hours"):
        await channels.set(LOBBY, by="ann", quiet_hours=hours)


async def test_an_agent_of_another_tenant_gets_no_channel(channels: Channels) -> None:
    await channels.record_metadata(LOBBY, tenant="a")
    with pytest.raises(BadSetting, match="of tenant 'b'"):
        await channels.set(LOBBY, by="ann", agent=agent("other", "b"))


async def test_a_channel_that_is_not_known_is_not_made_by_setting_it(
    channels: Channels, redis: Redis, keys: Keys
) -> None:
    for change in (
        channels.pause(LOBBY, by="x"),
        channels.set(LOBBY, by="x", quiet_hours="never"),
        channels.get(LOBBY),
    ):
        with pytest.raises(UnknownChannel, match="no channel is called 'discord:lobby'"):
            await change
    assert await channels.find(LOBBY) is None
    assert [key async for key in redis.scan_iter(f"{keys.prefix}*")] == []
