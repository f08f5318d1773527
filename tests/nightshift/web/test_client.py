"""A bot's side, against a real web on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from nightshift import agents, client
from nightshift.access.tokens import Role, Tokens
from nightshift.base.errors import BadSetting, Forbidden
from nightshift.base.limits import LONGEST_DELIVERY
from nightshift.base.refs import ChannelRef
from nightshift.client import Nightshift, Speak, Work
from nightshift.deliveries.delivery import DeliveryState, NewDelivery
from nightshift.runs.carry import Run
from nightshift.runs.states import State
from nightshift.settings import Settings
from nightshift.store.client import store_now
from nightshift.web.api import deliveries as api
from nightshift.work.runner import hand_to_runner
from tests.nightshift.cli.conftest import Stage
from tests.nightshift.llm.asking import serving
from tests.nightshift.web.conftest import Serve
from tests.nightshift.web.serving import Served

ROOM = ChannelRef("discord", "a/b:{c} d%")


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses and leases short enough for tests."""
    for name, seconds in (("GATHER_S", 0.05), ("FIRST_PAUSE_S", 0.01), ("LONGEST_PAUSE_S", 0.05)):
        monkeypatch.setattr(client, name, seconds)
    monkeypatch.setattr(api, "UNTIL_CONNECTED", timedelta(milliseconds=20))
    monkeypatch.setenv("NIGHTSHIFT_LEASE_SECONDS", "1.5")


@asynccontextmanager
async def bot(here: Served, tokens: Tokens) -> AsyncIterator[Nightshift]:
    secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")
    async with Nightshift(here.url, secret, platform="discord") as night:
        night.connected("b")
        yield night


async def hand(stage: Stage) -> str:
    cause = await stage.run("heartbeat:x", queue="heartbeat")
    agent = agents.of(Settings(), "default")
    run = Run(await stage.claim(cause), stage.ledger)
    return await hand_to_runner(run, agent, ROOM, "heartbeat", "Say good night.")


async def first(night: Nightshift) -> Work:
    async for work in night.work():
        return work
    raise AssertionError("no work")


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await true():
            await asyncio.sleep(0.01)


async def test_what_a_bot_sees_arrives_in_its_order_and_none_is_lost_when_it_closes(
    serve: Serve,
    stage: Stage,
    tokens: Tokens,
) -> None:
    now = await store_now(stage.ledger.redis)
    async with serve() as here:
        async with bot(here, tokens) as night:
            default = agents.of(Settings(), "default")
            await until(lambda: here.web.here.agents.liveness.is_alive(default, ROOM))
            await night.channel(ROOM.id, "general", server_id="s", server_name="Home")
            for n in range(250):
                await night.observe(ROOM.id, f"m{n}", f"hello {n}", user_id="u", user_name="Ann", at=now)
            await night.edited(ROOM.id, "m0", "changed")
            await night.deleted(ROOM.id, "m1")
        messages = here.web.here.memory.messages
        kept = {each.id: each.text for each in await messages.last(ROOM, 500)}
        assert len(kept) == 249
        assert (kept["m0"], kept["m249"]) == ("changed", "hello 249")
        assert (await messages.channels.get(ROOM)).title == "general"


async def test_work_is_renewed_while_the_bot_thinks_and_answered(
    serve: Serve, stage: Stage, tokens: Tokens
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        run = await hand(stage)
        async for work in night.work():
            assert (work.run, work.channel, work.instruction) == (run, ROOM.id, "Say good night.")
            began = await lease(stage, run)

            async def renewed(before: float = began) -> bool:
                return await lease(stage, run) > before

            await until(renewed)
            assert await work.reply("good night")
            break
        row = await stage.ledger.get(run)
        assert (row.state, row.result) == (State.DONE, {"delivery": f"{run}/0"})


async def lease(stage: Stage, run: str) -> float:
    row = await stage.ledger.get(run)
    assert row.lease
    return row.lease.timestamp()


@pytest.mark.parametrize("text", ["", " \n", "\ud800" * (LONGEST_DELIVERY + 1)])
async def test_an_answer_is_as_long_as_it_may_be_and_a_blank_one_is_none(
    serve: Serve, stage: Stage, tokens: Tokens, text: str
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        run = await hand(stage)
        assert await (await first(night)).reply(text)
        row = await stage.ledger.get(run)
        if text.strip():
            assert (
                await here.web.here.deliveries.store.get(row.result["delivery"])
            ).text == "?" * LONGEST_DELIVERY
        else:
            assert (row.state, row.reason) == (State.SKIPPED, "declined by its bot: its answer was blank")


async def test_what_a_bot_leaves_unanswered_is_declined_and_the_next_is_given(
    serve: Serve,
    stage: Stage,
    tokens: Tokens,
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        ignored = await hand(stage)
        second = asyncio.Event()

        async def answer() -> None:
            async for work in night.work():
                if work.run != ignored:
                    await work.reply("hi")
                    second.set()

        answering = asyncio.create_task(answer())

        async def declined() -> bool:
            return (await stage.ledger.get(ignored)).state is State.SKIPPED

        await until(declined)
        assert "left it unanswered" in (await stage.ledger.get(ignored)).reason
        await asyncio.sleep(0.001)  # another millisecond, another run
        await hand(stage)
        await asyncio.wait_for(second.wait(), 10)
        answering.cancel()


async def test_an_answer_to_work_that_was_lost_says_so_and_nothing_else(
    serve: Serve,
    stage: Stage,
    tokens: Tokens,
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        run = await hand(stage)
        work = await first(night)
        await stage.ledger.cancel(run, reason="cancelled by ann")
        await stage.ledger.redis.hset(stage.ledger.keys.run(run), "token", 9)  # somebody else has it
        assert not await work.reply("too late")
        assert work.lost
        assert not await work.reply("again")
        await stage.ledger.redis.delete(stage.ledger.keys.run(run))
        assert not await replace(work, lost=False).reply("is it gone?")


async def test_what_is_told_of_a_delivery_that_has_ended_or_gone_is_given_up(
    serve: Serve, stage: Stage, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        deliveries = here.web.here.deliveries.store
        await deliveries.request(NewDelivery("r@1", ROOM, "one", by="bot", agent="default"))
        async for delivery in night.deliveries():
            await deliveries.failed(delivery.id, "ann says so")
            await delivery.sent("m1")
            await stage.ledger.redis.delete(stage.ledger.keys.delivery(delivery.id))
            await delivery.failed("")
            break
    assert "it can no longer become sent" in caplog.text
    assert "no delivery is called 'r@1/0'" in caplog.text


async def test_a_bot_that_speaks_for_itself_pulls_what_it_is_to_say_and_tells_what_became_of_it(
    serve: Serve, stage: Stage, tokens: Tokens
) -> None:
    async with serve() as here, bot(here, tokens) as night:
        deliveries = here.web.here.deliveries.store
        for number, text in enumerate(("one", "two")):
            await deliveries.request(NewDelivery("r@1", ROOM, text, number=number, by="bot", agent="default"))
        told = []
        async for delivery in night.deliveries():
            told.append((delivery.platform, delivery.channel, delivery.text, delivery.maybe_sent))
            if delivery.text == "two":
                await delivery.failed("too long")
                break
            await delivery.sent("m1")
        assert told == [("discord", ROOM.id, "one", False), ("discord", ROOM.id, "two", False)]
        rows = await deliveries.rows(["r@1/0", "r@1/1"])
        assert [(row.state, row.message_id or row.reason) for row in rows] == [
            ("sent", "m1"),
            ("failed", "too long"),
        ]


async def test_what_a_bot_is_still_saying_stays_its_own_and_nothing_else_is_taken_meanwhile(
    serve: Serve, stage: Stage, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "HOLD_EVERY_S", 0.02)
    async with serve() as here, bot(here, tokens) as night:
        deliveries = here.web.here.deliveries.store
        for number, room in enumerate((ROOM, ChannelRef("discord", "other"))):
            await deliveries.request(
                NewDelivery("r@1", room, "text", number=number, by="bot", agent="default")
            )

        async def leased(id: str) -> int:
            return int(await stage.ledger.redis.hget(stage.ledger.keys.delivery(id), "leased") or 0)

        async for delivery in night.deliveries():
            began = await leased(delivery.id)

            async def renewed(id: str = delivery.id, before: int = began) -> bool:
                return await leased(id) > before

            await until(renewed)
            break
        assert [row.offers for row in await deliveries.rows(["r@1/0", "r@1/1"])] == [1, 0]


async def test_a_bot_that_leaves_in_good_order_ends_what_it_is_saying(
    serve: Serve, tokens: Tokens, stage: Stage
) -> None:
    said: list[str] = []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def speak(_: str, text: str) -> str:
        said.append(text)
        asked.set()
        await answered.wait()
        return "m1"

    async with serve() as here:
        made = await here.web.here.deliveries.store.request(
            NewDelivery("r@1", ROOM, "bye", by="bot", agent="default")
        )
        secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")
        async with Nightshift(here.url, secret, platform="discord", speak=speak) as night:
            night.connected("b")
            await asyncio.wait_for(asked.wait(), 5)
            asyncio.get_running_loop().call_later(0.05, answered.set)
        assert said == ["bye"]
        assert (await here.web.here.deliveries.store.get(made.id)).state is DeliveryState.SENT


async def test_what_may_have_been_said_is_not_said_again_until_somebody_has_looked(
    serve: Serve,
    stage: Stage,
    tokens: Tokens,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("nightshift.deliveries.deliveries.BOT_LEASE", timedelta(milliseconds=20))
    monkeypatch.setattr(client, "WAIT_S", 0)
    said = []

    async def speak(_: str, text: str) -> None:
        said.append(text)

    async with serve() as here:
        deliveries = here.web.here.deliveries.store
        await deliveries.request(NewDelivery("r@1", ROOM, "one", by="bot", agent="default"))
        assert await deliveries.offer("default", "default", holding=(), limit=1)  # to one that died
        secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")
        async with Nightshift(here.url, secret, platform="discord", speak=speak) as night:
            night.connected("b")

            async def ended() -> bool:
                return (await deliveries.get("r@1/0")).state.ended

            await until(ended)
        assert (await deliveries.get("r@1/0")).state == "unknown"
    assert said == []
    assert "delivery r@1/0 may have been said" in caplog.text


async def test_a_bot_is_asked_to_speak_and_what_becomes_of_it_is_told(
    serve: Serve, stage: Stage, tokens: Tokens
) -> None:
    said = []

    async def speak(channel: str, text: str) -> str | None:
        if text == "too much":
            raise ValueError("POST https://chat.example/bot-token-1234/say")
        said.append((channel, text))
        return "m1" if text == "one" else None

    async with serve() as here:
        deliveries = here.web.here.deliveries.store
        for number, text in enumerate(("one", "too much", "two")):
            await deliveries.request(NewDelivery("r@1", ROOM, text, number=number, by="bot", agent="default"))
        secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")
        async with Nightshift(here.url, secret, platform="discord", speak=speak) as night:
            night.connected("b")

            async def told() -> bool:
                return all(
                    row.state != "requested" for row in await deliveries.rows([f"r@1/{n}" for n in range(3)])
                )

            await until(told)
        rows = await deliveries.rows([f"r@1/{n}" for n in range(3)])
    assert said == [(ROOM.id, "one"), (ROOM.id, "two")]
    assert [(row.state, row.reason) for row in rows] == [
        ("sent", ""),
        ("failed", "the bot met ValueError; its log says more"),
        ("sent", ""),
    ]
    assert rows[0].message_id == "m1"


async def test_each_bot_of_an_agent_says_what_goes_to_its_platform_and_to_the_channels_that_it_serves(
    serve: Serve, tokens: Tokens
) -> None:
    said = set()

    def speak_as(process: str) -> Speak:
        async def speak(channel: str, text: str) -> None:
            said.add((process, channel, text))

        return speak

    async with serve() as here:
        deliveries = here.web.here.deliveries.store
        secret = await tokens.create("bot", Role.BOT, tenant="default", agent="default")

        def bot_on(platform: str, process: str) -> Nightshift:
            return Nightshift(here.url, secret, platform=platform, process=process, speak=speak_as(process))

        async with (
            bot_on("discord", "one") as one,
            bot_on("discord", "two") as two,
            bot_on("irc", "3") as irc,
        ):
            one.connected("b", channels=[1, 11])
            irc.connected("b")
            for number, ref in enumerate(
                ("discord:1", "discord:2", "irc:1", "discord:11", "irc:2", "discord:2")
            ):
                to = ChannelRef.parse(ref)
                await deliveries.request(
                    NewDelivery("r@1", to, ref, number=number, by="bot", agent="default")
                )

            async def are_said(number: int) -> bool:
                return (await deliveries.counts())[DeliveryState.SENT] == number

            await until(lambda: are_said(4))
            two.connected("b", channels=["2"])
            await until(lambda: are_said(6))
    assert said == {
        ("one", "1", "discord:1"),
        ("one", "11", "discord:11"),
        ("two", "2", "discord:2"),
        ("3", "1", "irc:1"),
        ("3", "2", "irc:2"),
    }


async def test_a_bot_that_is_not_let_in_is_told_so(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as here, Nightshift(here.url, "nst_of-nobody", platform="discord") as night:
        with pytest.raises(Forbidden, match="does not let this bot in"):
            await first(night)
    assert "tokens create NAME --role bot" in caplog.text


async def test_what_was_refused_is_named(
    serve: Serve, stage: Stage, tokens: Tokens, caplog: pytest.LogCaptureFixture
) -> None:
    now = await store_now(stage.ledger.redis)
    async with serve() as here, bot(here, tokens) as night:
        await night.observe("lobby", "m1", "hello", user_id="u", at=now - timedelta(days=1000))
    assert "message m1 of channel lobby was refused: too old" in caplog.text


@pytest.mark.parametrize("url", ["127.0.0.1:8390", "ftp://here", "http://", ""])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadSetting, match="no address of nightshift"):
        Nightshift(url, "nst_any", platform="discord")


async def test_that_nightshift_is_away_is_said_once_and_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"run": None}) if len(asked) > 3 else web.Response(status=503)

    app = web.Application()
    app.router.add_get("/v1/work", answer)
    async with serving(app) as url, Nightshift(f"{url}/v1/", "nst_any", platform="discord") as night:
        asking = asyncio.create_task(first(night))
        async with asyncio.timeout(10):
            while "is there again" not in caplog.text:
                await asyncio.sleep(0.01)
        asking.cancel()
    assert caplog.text.count("is away") == 1
