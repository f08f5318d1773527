from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from nightshift.base.errors import PlatformDown, RateLimited, RefusedByPlatform, SendUnknown
from nightshift.platforms.platform import Outgoing, PastMessage, PlatformChannel, Server
from nightshift.platforms.slack import SlackPlatform
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply


@pytest.fixture
async def slack(other_side: OtherSide) -> AsyncIterator[SlackPlatform]:
    slack = SlackPlatform("slack", lambda: "xoxb-token", other_side.url)
    yield slack
    await slack.close()


async def test_nothing_in_a_text_notifies_anybody(slack: SlackPlatform, other_side: OtherSide) -> None:
    other_side.answer("POST", "/chat.postMessage", Reply(shapes.SLACK_POSTED))
    text = "Hello <!channel> & <@U012AB3CDE>"
    sent = await slack.send(Outgoing("C123456", text, key="k", reply_to="1503435950.000100"))
    assert sent.message_id == "1503435956.000247"
    assert sent.at.year == 2017
    assert other_side.asked[0].json == {
        "channel": "C123456",
        "text": "Hello &lt;!channel&gt; &amp; &lt;@U012AB3CDE&gt;",
        "thread_ts": "1503435950.000100",
    }


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("channel_not_found", RefusedByPlatform),
        ("msg_too_long", RefusedByPlatform),
        ("token_revoked", PlatformDown),
        ("service_unavailable", PlatformDown),
        ("ratelimited", RateLimited),
        ("fatal_error", SendUnknown),  # "some aspect of the operation may have succeeded"
        ("internal_error", SendUnknown),
    ],
)
async def test_what_slack_says_in_an_answer_of_200_is_heeded(
    slack: SlackPlatform, other_side: OtherSide, said: str, error: type[Exception]
) -> None:
    other_side.answer("POST", "/chat.postMessage", Reply({"ok": False, "error": said}))
    with pytest.raises(error, match=said):
        await slack.send(Outgoing("C123456", "Hello", key="k"))


async def test_history_is_told_oldest_first_as_people_typed_it(
    slack: SlackPlatform, other_side: OtherSide
) -> None:
    last = {"ok": True, "messages": [], "has_more": False}
    other_side.answer("GET", "/conversations.history", Reply(shapes.SLACK_HISTORY), Reply(last))
    ann, own = "U012AB3CDE", "W12345678"
    first, third = (datetime.fromtimestamp(1_800_000_000 + each, UTC) for each in (1, 3))
    edited = datetime.fromtimestamp(1_800_000_009, UTC)
    assert await slack.history("C123456", limit=100) == [
        PastMessage("1800000001.000000", ann, ann, "more <b> & less", first, edited_at=edited),
        PastMessage(
            "1800000003.000000", own, own, "of our own", third, reply_to="1800000001.000000", is_bot=True
        ),
    ]
    assert [asked.query for asked in other_side.asked] == [
        {"channel": "C123456", "limit": "100"},
        {"channel": "C123456", "limit": "97", "cursor": "bmV4dA=="},
    ]


async def test_rooms_the_bot_is_in_are_listed_and_conversations_of_two_apart(
    slack: SlackPlatform, other_side: OtherSide
) -> None:
    other_side.answer("GET", "/auth.test", Reply(shapes.SLACK_IDENTITY))
    other_side.answer("GET", "/conversations.list", Reply(shapes.SLACK_ROOMS))
    assert await slack.servers_and_channels() == [
        Server("T12345678", "Example", None, (PlatformChannel("C012AB3CD", "general"),)),
        Server("D0G9QPQLV", "U012AB3CDE", 2, is_dm=True),
    ]
