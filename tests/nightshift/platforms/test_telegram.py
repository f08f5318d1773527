from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from nightshift.base.errors import RefusedByPlatform, SendUnknown
from nightshift.platforms.platform import Outgoing
from nightshift.platforms.telegram import TelegramPlatform
from tests.nightshift.platforms import shapes
from tests.nightshift.platforms.other_side import OtherSide, Reply

SEND = "/bot123:token/sendMessage"


@pytest.fixture
async def telegram(other_side: OtherSide) -> AsyncIterator[TelegramPlatform]:
    telegram = TelegramPlatform("telegram", lambda: "123:token", other_side.url)
    yield telegram
    await telegram.close()


async def test_no_name_in_a_text_notifies_anybody(telegram: TelegramPlatform, other_side: OtherSide) -> None:
    other_side.answer("POST", SEND, Reply(shapes.TELEGRAM_SENT))
    sent = await telegram.send(Outgoing("-1001234", "Hello @ann at 3 @ noon", key="k", reply_to="7"))
    assert (sent.message_id, sent.at.timestamp()) == ("42", 1_800_000_000)
    assert other_side.asked[0].json == {
        "chat_id": "-1001234",
        "text": "Hello @\u2060ann at 3 @ noon",
        "reply_parameters": {"message_id": 7, "allow_sending_without_reply": True},
    }


async def test_an_answer_about_another_chat_leaves_open_what_happened(
    telegram: TelegramPlatform, other_side: OtherSide
) -> None:
    other_side.answer("POST", SEND, Reply(shapes.TELEGRAM_SENT))
    with pytest.raises(SendUnknown, match="another channel"):
        await telegram.send(Outgoing("-1009999", "Hello", key="k"))
    # A channel's public name is answered with its number.
    assert await telegram.send(Outgoing("@garden", "Hello", key="k"))


async def test_a_reply_to_what_is_no_message_is_refused_before_it_is_sent(
    telegram: TelegramPlatform, other_side: OtherSide
) -> None:
    with pytest.raises(RefusedByPlatform, match="to reply to"):
        await telegram.send(Outgoing("-1001234", "Hello", key="k", reply_to="$event"))
    assert not other_side.asked


async def test_telegram_says_that_it_shows_neither_channels_nor_the_past(
    telegram: TelegramPlatform, other_side: OtherSide
) -> None:
    other_side.answer("GET", "/bot123:token/getMe", Reply(shapes.TELEGRAM_ME))
    readiness = await telegram.ready()
    assert (readiness.ready, readiness.user_id) == (True, "123456")
    assert "no channels and of no past messages" in readiness.why
    assert await telegram.history("-1001234", limit=100) == []
    assert await telegram.servers_and_channels() == []
