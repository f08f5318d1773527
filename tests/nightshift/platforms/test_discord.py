from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from nightshift.base.errors import PlatformDown, RateLimited
from nightshift.platforms.discord import DiscordPlatform
from nightshift.platforms.platform import Outgoing, PastMessage, PlatformChannel, Server
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply
from tests.nightshift.platforms.shapes import discord_channel, discord_guild, discord_message

MESSAGES = "/channels/1001/messages"
NAME = "nightshift"


@pytest.fixture
async def discord(other_side: OtherSide) -> AsyncIterator[DiscordPlatform]:
    discord = DiscordPlatform("discord", lambda: "bot-token", other_side.url)
    yield discord
    await discord.close()


def limits(left: int, refills_in: float) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": str(left),
        "X-RateLimit-Reset-After": str(refills_in),
        "X-RateLimit-Bucket": "abcd1234",
    }


async def test_the_same_key_is_the_same_nonce_and_nobody_is_notified(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    other_side.answer("POST", MESSAGES, Reply(discord_message("5005", "Hello")))
    for key in ("run/0", "run/0", "run/1"):
        sent = await discord.send(Outgoing("1001", "Hello @everyone", key=key, reply_to="4004"))
    assert (sent.message_id, sent.at) == ("5005", datetime(2026, 11, 20, 12, 0, 0, 123_000, UTC))
    nonces = [asked.json["nonce"] for asked in other_side.asked]
    assert [len(nonce) for nonce in nonces] == [25] * 3
    assert nonces[0] == nonces[1] != nonces[2]
    asked = other_side.asked[0]
    assert asked.json == {
        "content": "Hello @everyone",
        "nonce": nonces[0],
        "enforce_nonce": True,
        "allowed_mentions": {"parse": []},
        "message_reference": {"message_id": "4004", "fail_if_not_exists": False},
    }
    assert asked.headers["Authorization"] == "Bot bot-token"
    assert asked.headers["User-Agent"].startswith("DiscordBot (")


async def test_a_long_text_is_cut_to_what_discord_takes(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    other_side.answer("POST", MESSAGES, Reply(discord_message("5005", "Hello")))
    await discord.send(Outgoing("1001", "x" * 2001, key="k"))
    assert other_side.asked[0].json["content"] == "x" * 1999 + "…"


async def test_an_empty_bucket_is_waited_for_instead_of_being_turned_away(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    message = discord_message("5005", "Hello")
    other_side.answer("POST", MESSAGES, Reply(message, headers=limits(0, 0.1)), Reply(message))
    begun = asyncio.get_running_loop().time()
    for key in "ab":
        await discord.send(Outgoing("1001", "Hello", key=key))
    assert asyncio.get_running_loop().time() - begun >= 0.09


async def test_a_limit_on_everything_is_heeded_by_the_next_request_of_any_kind(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    limited = {"message": "You are being rate limited.", "retry_after": 60.0, "global": True}
    headers = {"Retry-After": "60", "X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}
    other_side.answer("POST", MESSAGES, Reply(limited, 429, headers))
    with pytest.raises(RateLimited):
        await discord.send(Outgoing("1001", "Hello", key="k"))
    with pytest.raises(RateLimited):
        await discord.history("2002", limit=10)
    assert len(other_side.asked) == 1


async def test_history_is_told_oldest_first_without_joins_and_pins(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    own = {"id": "8", "username": NAME, "global_name": None, "bot": True}
    other_side.answer(
        "GET",
        MESSAGES,
        Reply(
            [
                discord_message(
                    "3", "of our own", author=own, type=19, message_reference={"message_id": "1"}
                ),
                discord_message("2", "", type=7),
                discord_message("1", "Hello", edited_timestamp="2026-11-20T12:05:00+00:00"),
            ]
        ),
    )
    at = datetime(2026, 11, 20, 12, 0, 0, 123_000, UTC)
    edited = datetime(2026, 11, 20, 12, 5, tzinfo=UTC)
    assert await discord.history("1001", limit=100) == [
        PastMessage("1", "53908232506183680", "Ann", "Hello", at, edited_at=edited),
        PastMessage("3", "8", NAME, "of our own", at, reply_to="1", is_bot=True),
    ]


async def test_a_long_history_is_read_page_by_page(discord: DiscordPlatform, other_side: OtherSide) -> None:
    newest_first = [discord_message(str(number), f"m{number}") for number in range(250, 0, -1)]
    pages = [newest_first[:100], newest_first[100:130]]
    other_side.answer("GET", MESSAGES, *map(Reply, pages))
    found = await discord.history("1001", limit=130)
    assert [found[0].text, found[-1].text, len(found)] == ["m121", "m250", 130]
    assert [asked.query for asked in other_side.asked] == [
        {"limit": "100"},
        {"limit": "30", "before": "151"},
    ]


async def test_messages_of_another_channel_are_not_believed(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    stray = discord_message("1", "a secret of another channel", channel="2002")
    other_side.answer("GET", MESSAGES, Reply([stray]))
    other_side.answer("POST", MESSAGES, Reply(stray))
    with pytest.raises(PlatformDown, match="another channel"):
        await discord.history("1001", limit=100)
    with pytest.raises(PlatformDown, match="another channel"):
        await discord.send(Outgoing("1001", "Hello", key="k"))


async def test_channels_of_text_are_listed_under_their_servers(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    guilds = [discord_guild("2001", "Garden", 12)]
    channels = [
        discord_channel("1", 4, "a category"),
        discord_channel("2", 0, "general"),
        discord_channel("3", 2, "a voice"),
        discord_channel("4", 5, "news"),
        discord_channel("5", 15, "a forum"),
        discord_channel("6", 0, "seeds"),
    ]
    other_side.answer("GET", "/users/@me/guilds", Reply(guilds))
    other_side.answer("GET", "/guilds/2001/channels", Reply(channels))
    assert await discord.servers_and_channels() == [
        Server("2001", "Garden", 12, (PlatformChannel("2", "general"), PlatformChannel("6", "seeds")))
    ]


async def test_more_servers_than_a_page_holds_are_all_listed(
    discord: DiscordPlatform, other_side: OtherSide
) -> None:
    guilds = [discord_guild(str(number), f"g{number}", 3) for number in range(1, 203)]
    other_side.answer("GET", "/users/@me/guilds", Reply(guilds[:200]), Reply(guilds[200:]))
    other_side.answer("GET", "*", Reply([]))
    assert len(await discord.servers_and_channels()) == 202
    assert other_side.asked[1].query["after"] == "200"


@pytest.mark.parametrize("lie", [[{"id": 5}], {"id": "1"}, [[]], ["x"]], ids=str)
async def test_a_list_that_makes_no_sense_is_no_list(
    discord: DiscordPlatform, other_side: OtherSide, lie: Any
) -> None:
    other_side.answer("GET", "*", Reply(lie))
    with pytest.raises(PlatformDown, match="makes no sense"):
        await discord.servers_and_channels()
    with pytest.raises(PlatformDown, match="makes no sense"):
        await discord.history("1001", limit=100)


async def test_who_we_are_is_told(discord: DiscordPlatform, other_side: OtherSide) -> None:
    other_side.answer("GET", "/users/@me", Reply(shapes.DISCORD_ME))
    assert (await discord.ready()).user_id == "80351110224678912"
