"""Nothing of what is forgotten is left anywhere, and nothing of it comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import TransientError
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Forgetter, Subject
from nightshift.forgetting import Forgetting
from nightshift.memory.forgetting import MessageForgetter, ReplyForgetter
from nightshift.memory.limits import Limits
from nightshift.memory.message import MessageKind, Origin
from nightshift.memory.messages import Messages
from nightshift.runs.forgetting import EventForgetter, RunForgetter, forget_in_runs
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRow
from nightshift.runs.states import done, failed, skipped
from nightshift.store.client import store_now
from nightshift.store.keys import Keys
from tests.conftest import tell_made_up
from tests.nightshift.conftest import ROOM, Room, unembedded
from tests.nightshift.runs.model import Clock, request

ANN, BOB, BOT = UserRef("discord", "ann"), UserRef("discord", "bob"), UserRef("discord", "bot")
CANARY = "xylophonecanary"


@pytest.fixture
async def clock(redis: Redis) -> Clock:
    """Runs and messages by the store's own time."""
    return Clock(await store_now(redis))


@pytest.fixture
def messages(redis: Redis, keys: Keys, limits: Limits) -> Messages:
    return Messages(redis, keys, limits)


def forgetting_in(messages: Messages, *others: Forgetter) -> Forgetting:
    """Forgetting in a memory, and in what else there is."""
    forgetters: list[Forgetter] = [MessageForgetter(messages), ReplyForgetter(messages), *others]
    return Forgetting(messages.redis, messages.keys, forgetters, spoke_in=[messages.channels_of])


@pytest.fixture
def forgetting(messages: Messages, ledger: Ledger) -> Forgetting:
    return forgetting_in(messages, RunForgetter(ledger), EventForgetter(ledger))


async def everything(redis: Redis, keys: Keys, *, but: str = "") -> AsyncIterator[tuple[str, str]]:
    """Every key of the store and all that is in it, as text; but not those of one type."""
    async for key in redis.scan_iter(f"{keys.prefix}*", count=1000):
        match await redis.type(key):
            case kind if kind == but:
                pass
            case "hash":
                yield key, repr(await redis.hgetall(key))
            case "zset":
                yield key, repr(await redis.zrange(key, 0, -1))
            case "set":
                yield key, repr(await redis.smembers(key))
            case "list":
                yield key, repr(await redis.lrange(key, 0, -1))
            case "stream":
                yield key, repr(await redis.xrange(key))
            case "string":
                yield key, repr(await redis.get(key))
            case other:
                raise AssertionError(f"{key} is a {other!r}, which nobody looks into")


async def where(redis: Redis, keys: Keys, word: str) -> list[str]:
    return [key async for key, text in everything(redis, keys) if word in key or word in text]


async def plant(messages: Messages, ledger: Ledger, room: Room) -> None:
    """The word in every place that a word of somebody in this room can come to."""
    redis, keys, ref = ledger.redis, ledger.keys, room.ref
    now = room.clock.now
    await messages.channels.record_metadata(ref, name=f"the {CANARY} room", server_id="1", server_name=CANARY)
    await messages.learn_own_user(BOT, agent="default")
    await messages.observe(
        [
            room.said("1", f"I am {CANARY}", user_name=CANARY),
            room.said("2", "nothing"),
            room.edited("2", f"now {CANARY}"),
            room.said("3", f"no {CANARY}"),
            room.deleted("3"),
            room.said(f"id-{CANARY}", "an id", reply_to=CANARY),
            room.said("r1", f"as you say: {CANARY}", user_id=BOT.id, user_name=CANARY, reply_to=CANARY),
        ]
    )
    await messages.record_own(ref, "r2", f"echo: {CANARY}", at=now)
    await messages.record_own(ref, "r3", f"still {CANARY}?", at=now, origin=Origin.HEARTBEAT)
    for n, end in enumerate((done(said=CANARY), failed(f"cannot: {CANARY}"), skipped(CANARY))):
        run = request(f"heartbeat:{ref}", now - timedelta(seconds=n), payload={"text": CANARY}, cause=CANARY)
        await ledger.record(run)
        claimed = await ledger.claim(run.id, worker="w", message="m")
        assert isinstance(claimed, RunRow)
        await ledger.renew(run.id, claimed.token, checkpoint={"answer": CANARY})
        await ledger.settle(run.id, claimed.token, end, cost=7)
    waiting = request("work:night", now, payload={"channel": str(ref), "text": CANARY}, tenant="a")
    await ledger.record(waiting)
    await tell_made_up(redis, keys, f"delivery:{ref}", preview=CANARY)


@pytest.mark.parametrize("subject", [ANN, ROOM])
async def test_no_store_keeps_a_word_of_it(
    forgetting: Forgetting, messages: Messages, ledger: Ledger, room: Room, subject: UserRef | ChannelRef
) -> None:
    redis, keys = ledger.redis, ledger.keys
    await plant(messages, ledger, room)
    assert len(await where(redis, keys, CANARY)) > 8, "it is in many places"

    preview = await forgetting.preview(subject)
    said, replies = (3, 3) if subject == ANN else (7, 0)
    assert preview == {"messages": said, "replies": replies, "runs": 4, "events": preview["events"]}
    assert len(await where(redis, keys, CANARY)) > 8, "a preview changes nothing"

    receipt = await forgetting.forget(subject, by="the court")

    left = await where(redis, keys, CANARY)
    channel_row = [keys.channel(ROOM)] if subject == ANN else []
    assert left == channel_row, "the room's own name is nobody's words"
    assert receipt.finished
    assert (receipt.what, receipt.by) == (f"{subject.NOUN} {subject}", "the court")
    assert dict(receipt.counts) == preview | {"events": receipt.counts["events"]}
    assert await forgetting.receipts() == [receipt]
    rows = [row for state in ("done", "failed", "skipped") for row in await ledger.ended_runs(state)]  # type: ignore[arg-type]
    assert sorted(row.reason for row in rows) == ["forgotten"] * 4
    assert sum(row.cost for row in rows) == 21, "what it cost is still known"
    assert await ledger.open_runs() == []

    again = await forgetting.forget(subject, by="the court")
    assert again.counts["messages"] == again.counts["replies"] == again.counts["runs"] == 0


@pytest.mark.parametrize("subject", [ANN, ROOM])
async def test_nothing_that_was_forgotten_comes_back(
    forgetting: Forgetting, messages: Messages, room: Room, subject: UserRef | ChannelRef
) -> None:
    ahead = room.clock.now + timedelta(minutes=4)  # as a platform has it whose clock is ahead
    said = [room.said("1", "secret"), room.said("2", "secret", at=ahead)]
    await messages.observe(said)
    await forgetting.forget(subject, by="ann")

    history = [
        *said,
        room.edited("1", "secret", user_id="ann", at=room.clock.now),
        room.edited("2", "secret"),
    ]
    result = await messages.observe(history)
    assert result.new == result.edited == 0
    assert result.refused["forgotten"] == 3
    if subject == ROOM:
        assert await messages.record_own(ROOM, "3", "re: secret", at=room.clock.now) == "forgotten"
        assert not await messages.channels.record_metadata(ROOM, name="the secret room")
        assert await messages.channels.find(ROOM) is None

    fresh = await messages.observe([room.said("4", "hello", at=ahead + timedelta(seconds=30))])
    assert fresh.new == 1, "what is said later is said anew"
    assert [each.text for each in await messages.last(ROOM, 9)] == ["hello"]
    assert await messages.channels.record_metadata(ROOM, name="Lobby")


@pytest.mark.parametrize("subject", [ANN, ROOM])
async def test_history_that_was_never_read_before_does_not_come_in_afterwards(
    forgetting: Forgetting, messages: Messages, room: Room, subject: UserRef | ChannelRef
) -> None:
    await forgetting.forget(subject, by="ann")
    assert (await messages.observe([room.said("1", "secret")])).refused == {"forgotten": 1}


async def test_what_agents_of_ours_said_to_a_user_is_taken_back_and_does_not_come_back(
    forgetting: Forgetting, messages: Messages, room: Room
) -> None:
    await messages.learn_own_user(BOT, agent="default")
    quote = room.said("2", "echo: secret", user_id=BOT.id)
    others = [
        room.said("3", "bob's", user_id="bob"),
        room.said("4", "another's bot", user_id="b2", origin=Origin.AGENT),
    ]
    away = room.called("away").said("1", "our own", user_id=BOT.id)
    await messages.observe([room.said("1", "secret"), quote, *others, away])
    await messages.record_own(ROOM, "5", "secret?", at=room.clock.now)
    waiting = await unembedded(messages, 10)
    await messages.mark_embedded(waiting, "m")

    receipt = await forgetting.forget(ANN, by="ann")
    assert receipt.counts["replies"] == 2

    assert (await messages.observe([quote, replace(quote, kind=MessageKind.EDITED)])).known == 2
    assert await messages.record_own(ROOM, "5", "secret?", at=room.clock.now) == "known"
    assert [each.text for each in await messages.last(ROOM, 9)] == ["bob's", "another's bot"]
    assert [each.text for each in await messages.last(away.ref, 9)] == ["our own"]
    assert {each.id for each in await unembedded(messages, 9)} == {"2", "5"}, "their vectors are to go"


async def test_more_replies_than_are_read_at_once_all_go(redis: Redis, keys: Keys, room: Room) -> None:
    messages = Messages(redis, keys, Limits(batch=2))
    forgetting = forgetting_in(messages)
    await messages.observe([room.said("1")])
    for n in range(5):
        await messages.record_own(ROOM, f"r{n}", f"{n}", at=room.clock.now)
    assert (await forgetting.preview(ANN))["replies"] == 5
    assert (await forgetting.forget(ANN, by="ann")).counts["replies"] == 5
    assert await messages.last(ROOM, 9) == []


async def test_a_channel_that_was_forgotten_is_in_no_list(
    forgetting: Forgetting, messages: Messages, room: Room
) -> None:
    await messages.observe([room.said("1")])
    await forgetting.forget(ROOM, by="ann")
    assert await messages.redis.zrange(messages.keys.channels, 0, -1) == []


async def test_what_is_said_while_a_user_is_forgotten_is_forgotten_too_or_said_after(
    forgetting: Forgetting, messages: Messages, room: Room, redis: Redis
) -> None:
    async def go_on() -> None:
        for n in range(100):
            at = await store_now(redis)
            await messages.observe(
                [room.said(str(n), f"{n}", at=at), room.said(f"late-{n}", "x", at=room.clock.now)]
            )

    talking = asyncio.create_task(go_on())
    await asyncio.sleep(0.02)
    receipt = await forgetting.forget(ANN, by="ann")
    await talking
    left = await messages.last(ROOM, 500)
    assert all(each.at >= receipt.at for each in left)
    assert not [each for each in left if each.id.startswith("late")]


async def test_others_and_other_rooms_are_left_alone(
    forgetting: Forgetting, messages: Messages, ledger: Ledger, room: Room
) -> None:
    near = room.called("lobby2")  # begins as the room is called
    await messages.observe(
        [
            room.said("1", "ann's"),
            room.said("2", "bob's", user_id="bob"),
            near.said("1", "bob's", user_id="bob"),
        ]
    )
    await messages.observe([Room(room.clock, ChannelRef("slack", "lobby")).said("1", "another ann's")])
    theirs = request(f"heartbeat:{near.ref}", room.clock.now, payload={"text": "theirs"})
    await ledger.record(theirs)

    await forgetting.forget(ANN, by="ann")

    assert [each.text for each in await messages.last(ROOM, 9)] == ["bob's"]
    assert await messages.count(near.ref) == 1
    assert await messages.count(ChannelRef("slack", "lobby")) == 1
    await forgetting.forget(ROOM, by="ann")
    assert await messages.count(near.ref) == 1
    assert (await ledger.get(theirs.id)).payload == {"text": "theirs"}
    assert await messages.channels_of(BOB) == [near.ref]


@dataclass
class Breaking:
    """A store that is away at first."""

    name: str = "rooms"
    asked: list[Subject] = field(default_factory=list)

    async def forget(self, what: Subject, *, dry_run: bool = False) -> int:
        self.asked.append(what)
        if len(self.asked) == 1:
            raise TransientError("away")
        return 1


async def test_an_interrupted_forgetting_goes_on_where_it_has_to(
    redis: Redis, keys: Keys, messages: Messages, room: Room
) -> None:
    breaking = Breaking()
    forgetting = forgetting_in(messages, breaking)
    await messages.observe([room.said("1")])
    with pytest.raises(TransientError):
        await forgetting.forget(ANN, by="ann")
    (open_receipt,) = await forgetting.receipts()
    assert open_receipt.finished is None
    assert await messages.channels_of(ANN) == [], "the messages are gone already"

    receipt = await forgetting.forget(ANN, by="ann")
    assert [what.channels for what in breaking.asked] == [(ROOM,), (ROOM,)], (
        "and yet it knows where they stood"
    )
    assert await forgetting.receipts() == [receipt]
    assert dict(receipt.counts) == {"messages": 1, "replies": 0, "rooms": 1}


async def test_a_run_at_work_is_stopped_before_it_is_emptied(ledger: Ledger, now: datetime) -> None:
    run = request("work:night", now, payload={"channel": str(ROOM), "text": CANARY})
    await ledger.record(run)
    claimed = await ledger.claim(run.id, worker="w", message="m")
    assert isinstance(claimed, RunRow)

    async def worker() -> None:
        while not await ledger.renew(run.id, claimed.token, checkpoint=CANARY):
            await asyncio.sleep(0.01)
        await ledger.settle(run.id, claimed.token, skipped("cancelled", said=CANARY))

    mentioned = Subject(ROOM, (ROOM,)).mentioned_in
    working = asyncio.create_task(worker())
    assert await forget_in_runs(ledger, mentioned) == 1
    await working
    assert CANARY not in json.dumps(dict((await ledger.get(run.id)).raw))


async def test_a_run_that_does_not_stop_is_told(ledger: Ledger, now: datetime) -> None:
    run = request("work:night", now, payload={"channel": str(ROOM)})
    await ledger.record(run)
    await ledger.claim(run.id, worker="w", message="m")
    with pytest.raises(TransientError, match="1 runs that have to do with it do not stop"):
        await forget_in_runs(ledger, Subject(ROOM, (ROOM,)).mentioned_in, patience=timedelta())


def test_a_channel_is_mentioned_by_its_whole_name_alone() -> None:
    what = Subject(ChannelRef("discord", "1.2"), (ChannelRef("discord", "1.2"),))
    for text in (
        "discord:1.2",
        "heartbeat:discord:1.2@2026",
        '{"channel": "discord:1.2"}',
        "in discord:1.2, yes",
    ):
        assert what.mentioned_in(["", text]), text
    for text in ("discord:1.23", "discord:1x2", "mydiscord:1.2", "discord:1.2%20", "discord:1.2-x", ""):
        assert not what.mentioned_in([text]), text


async def test_a_heartbeats_words_go_with_the_channel(
    forgetting: Forgetting, messages: Messages, ledger: Ledger, room: Room
) -> None:
    await messages.record_own(ROOM, "1", CANARY, at=room.clock.now, origin=Origin.HEARTBEAT)
    await forgetting.forget(ROOM, by="ann")
    assert await where(ledger.redis, ledger.keys, CANARY) == []
