from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from nightshift.base.errors import BadSetting
from nightshift.platforms.platform import Outgoing
from nightshift.platforms.webhook import WebhookPlatform
from tests.nightshift.platforms.other_side import OtherSide, Reply

SECRET = "whsec_c2VjcmV0LW9mLXRoZXNlLXRlc3Rz"
OTHER_SECRET = "whsec_YW5vdGhlci1zZWNyZXQtb2YtdGhlc2U="


@pytest.fixture
async def webhook(other_side: OtherSide) -> AsyncIterator[WebhookPlatform]:
    webhook = WebhookPlatform("hook", f"{other_side.url}/in?for=us", lambda: SECRET)
    other_side.answer("POST", "/in", Reply(b"thanks"))
    yield webhook
    await webhook.close()


async def test_a_receiver_that_knows_the_secret_can_check_who_sent_it(
    webhook: WebhookPlatform, other_side: OtherSide
) -> None:
    await webhook.send(Outgoing("garden", "Grüße 🌙", key="run/0"))
    [asked] = other_side.asked
    headers = dict(asked.headers)
    assert Webhook(SECRET).verify(asked.body, headers)["data"] == {
        "channel_id": "garden",
        "text": "Grüße 🌙",
        "reply_to": None,
    }
    assert asked.query == {"for": "us"}
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(asked.body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(asked.body + b" ", headers)


async def test_the_same_key_is_the_same_webhook_id(webhook: WebhookPlatform, other_side: OtherSide) -> None:
    sent = [await webhook.send(Outgoing("garden", "Hello", key=key)) for key in ("a\r\nb.ü", "a\r\nb.ü", "c")]
    ids = [asked.headers["webhook-id"] for asked in other_side.asked]
    assert ids == [each.message_id for each in sent]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("status", [200, 204, 405, 404])
async def test_a_receiver_that_answers_at_all_is_ready(
    webhook: WebhookPlatform, other_side: OtherSide, status: int
) -> None:
    other_side.answer("HEAD", "/in", Reply(b"", status))
    assert (await webhook.ready()).ready


@pytest.mark.parametrize("secret", ["====", "not base64!", "whsec_abcde"])
async def test_a_secret_that_signs_nothing_is_told_and_not_shown(other_side: OtherSide, secret: str) -> None:
    webhook = WebhookPlatform("hook", other_side.url, lambda: secret)
    readiness = await webhook.ready()
    assert not readiness.ready
    assert "openssl rand" in readiness.why
    assert secret not in readiness.why
    with pytest.raises(BadSetting, match=r"\[platforms.hook\]"):
        await webhook.send(Outgoing("garden", "Hello", key="k"))
