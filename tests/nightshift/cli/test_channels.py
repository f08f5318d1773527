from __future__ import annotations

import pytest

from nightshift.base.refs import ChannelRef
from nightshift.memory.message import MessageKind, Observed
from nightshift.memory.messages import Messages
from nightshift.store.client import store_now
from tests.nightshift.cli.conftest import Cli, Stage, answer

LOBBY = ChannelRef("discord", "lobby")
STRANGE = ChannelRef("matrix", "!a:{x}*[bold]")


@pytest.fixture
async def messages(stage: Stage) -> Messages:
    """Two channels, in which something was said."""
    messages = Messages(stage.ledger.redis, stage.ledger.keys)
    now = await store_now(messages.redis)
    await messages.observe(
        [Observed(MessageKind.NEW, ref, "1", "ann", "Ann", "hello", now) for ref in (LOBBY, STRANGE)]
    )
    await messages.channels.record_metadata(
        STRANGE, name="[red]room", server_id="7", server_name="Guild", members=3
    )
    return messages


async def test_channels_are_listed_with_what_is_known_of_them(cli: Cli, messages: Messages) -> None:
    listed = answer(await cli("channels", "--json"))
    assert {each["channel"] for each in listed} == {str(LOBBY), str(STRANGE)}
    table = (await cli("channels")).stdout
    assert str(STRANGE) in table
    assert "[red]room" in table
    few = await cli("channels", "--limit", "1")
    assert "--limit 5" in few.stderr


async def test_before_anybody_told_of_a_channel_the_list_says_how_they_come(cli: Cli) -> None:
    result = await cli("channels", "--json")
    assert (result.exit_code, answer(result)) == (0, [])
    assert "a bot tells of them" in (await cli("channels")).stderr


async def test_one_channel_is_shown_paused_and_set(cli: Cli, messages: Messages) -> None:
    name = str(STRANGE)
    assert (await cli("channels", "pause", name)).exit_code == 0
    assert (await cli("channels", "set", name, "--audience", "server", "--quiet", "22-8")).exit_code == 2
    assert (
        await cli("channels", "set", name, "--audience", "server", "--quiet", "22:00-08:00")
    ).exit_code == 0
    shown = answer(await cli("channels", "show", name, "--json"))
    assert "@" in shown["paused_by"]
    assert (shown["audience"], shown["quiet_hours"], shown["messages"]) == (
        "server:matrix:7",
        "22:00-08:00",
        1,
    )
    said = (await cli("channels", "show", name)).stdout
    assert "22:00-08:00" in said
    assert "Guild" in said
    assert (await cli("channels", "resume", name)).exit_code == 0
    assert answer(await cli("channels", "show", name, "--json"))["paused_by"] == ""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("show", "discord:nowhere"), 1, "no channel is called 'discord:nowhere'"),
        (("pause", "discord:nowhere"), 1, "no channel is called"),
        (("show", "lobby"), 1, "channels are called PLATFORM:ID"),
        (("set", "discord:lobby", "--audience", "all"), 2, "'all' is no audience"),
        (("set", "discord:lobby", "--agent", "nobody"), 1, "no agent is called 'nobody'"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    cli: Cli, messages: Messages, words: tuple[str, ...], code: int, told: str
) -> None:
    result = await cli("channels", *words)
    assert result.exit_code == code
    assert told in result.stderr


# Forgetting


async def test_forgetting_first_says_how_much_there_is(cli: Cli, messages: Messages) -> None:
    preview = await cli("forget", "user", "discord:ann")
    assert "1 messages" in preview.stdout
    assert "--yes forgets it" in preview.stderr
    assert await messages.count(LOBBY) == 1

    receipt = answer(await cli("forget", "user", "discord:ann", "--yes", "--json"))
    assert (receipt["what"], receipt["counts"]["messages"]) == ("user discord:ann", 1)
    assert "@" in receipt["by"]
    assert await messages.count(LOBBY) == 0
    assert await messages.count(STRANGE) == 1
    assert answer(await cli("forget", "receipts", "--json")) == [receipt]
    assert receipt["id"] in (await cli("forget", "receipts")).stdout


async def test_of_somebody_of_whom_nothing_is_kept_the_name_is_doubted(cli: Cli, messages: Messages) -> None:
    preview = await cli("forget", "user", "tiny:nobody")
    assert preview.stdout == "Nothing of tiny:nobody is kept here; is the name right?\n"
    done = await cli("forget", "user", "tiny:nobody", "--yes")
    (receipt,) = answer(await cli("forget", "receipts", "--json"))
    told = f"Nothing of tiny:nobody was kept here; is the name right? (receipt {receipt['id']})\n"
    assert done.stdout == told
    assert (await cli("forget", "receipts")).stdout.rstrip().endswith("nothing")


async def test_a_channel_is_forgotten_with_what_is_known_of_it(cli: Cli, messages: Messages) -> None:
    done = await cli("forget", "channel", str(STRANGE), "--yes")
    assert "Forgotten: channel" in done.stdout
    assert (await cli("channels", "show", str(STRANGE))).exit_code == 1
    assert (await cli("forget", "user", "nobody")).exit_code == 1
