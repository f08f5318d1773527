"""Whatever listens at a URL of its own: each message is a request signed as Standard Webhooks lays down."""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Self

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from nightshift.base.errors import BadSetting, RefusedByPlatform
from nightshift.platforms.endpoint import Endpoint
from nightshift.platforms.platform import Described, Need, Outgoing, Platform, Readiness, Sent, readiness
from nightshift.platforms.text import cut

LONGEST = 100_000


class WebhookPlatform(Platform):
    """A receiver that knows us by our signature, and a message by its webhook-id."""

    kind = "webhook"
    needs = (Need("url", "where to post"), Need("token", "the secret to sign with, `whsec_…`"))
    lacks = "it is only sent to"
    #: Part of what Standard Webhooks asks of a receiver.
    repeatable_for = timedelta(days=1)

    def __init__(self, name: str, url: str, secret: Callable[[], str], *, token_in: str = "") -> None:
        self.name = name
        self._secret = secret
        self._api = Endpoint(name, url, token_in=token_in)

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.url, told.token, token_in=told.token_in)

    async def ready(self) -> Readiness:
        return await readiness(self._reach(), lacks=self.lacks)

    async def _reach(self) -> str:
        """Have the receiver answer anything at all; it need not like the question."""
        self._signer()
        with suppress(RefusedByPlatform):
            await self._api.call("HEAD")
        return ""

    async def send(self, out: Outgoing) -> Sent:
        at = datetime.now(UTC)
        message = {
            "channel_id": out.channel_id,
            "text": cut(out.text, LONGEST),
            "reply_to": out.reply_to or None,
        }
        body = json.dumps({"type": "message", "timestamp": at.isoformat(), "data": message})
        id = f"msg_{hashlib.sha256(out.key.encode()).hexdigest()[:32]}"
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._signer().sign(id, at, body),
        }
        await self._api.call("POST", body=body.encode(), headers=headers)
        return Sent(id, at)

    def _signer(self) -> Webhook:
        try:
            return Webhook(self._secret())
        except (binascii.Error, EmptyWebhookSecretError):
            raise BadSetting(
                f"the token of [platforms.{self.name}] is no secret to sign with; "
                "make one by `echo whsec_$(openssl rand -base64 32)` and give it to the receiver too"
            ) from None

    async def close(self) -> None:
        await self._api.close()
