"""Feishu, ntfy, e-mail and a hundred others, through the apprise library, which only sends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import quote

from nightshift.base.errors import BadSetting, SendUnknown
from nightshift.platforms.platform import Described, Need, Outgoing, Platform, Readiness, Sent, readiness
from nightshift.platforms.text import cut

LONGEST = 30_000
CHANNEL = "{channel}"


class ApprisePlatform(Platform):
    """One of apprise's services, by the URL that apprise knows it by; what is in it is secret."""

    kind = "apprise"
    needs = (Need("token", "the URL by which apprise knows the service"),)
    extra = "apprise"
    lacks = "it is only sent to"
    repeatable_for = timedelta(0)

    def __init__(self, name: str, url: Callable[[], str]) -> None:
        self.name = name
        self._url = url

    @classmethod
    def made(cls, told: Described) -> Self:
        return cls(told.name, told.token)

    async def ready(self) -> Readiness:
        return await readiness(self._check(), lacks=self.lacks)

    async def _check(self) -> str:
        self._service("any")
        return ""

    async def send(self, out: Outgoing) -> Sent:
        service = self._service(out.channel_id)
        text = cut(out.text, LONGEST)
        if not await asyncio.to_thread(service.notify, body=text, body_format="text"):
            raise SendUnknown(f"{self.name} did not confirm the message, and apprise does not say why")
        return Sent(out.key, datetime.now(UTC))

    def _service(self, channel_id: str) -> Any:
        """Apprise, told of the one service; the channel's id stands where the URL has a place for it."""
        service = _apprise(self.name).Apprise()
        if not service.add(self._url().replace(CHANNEL, quote(channel_id, safe=""))):
            raise BadSetting(f"the token of [platforms.{self.name}] is no URL that apprise knows")
        return service

    async def close(self) -> None:
        """Nothing is kept open."""


def _apprise(name: str) -> Any:
    try:
        import apprise
    except ImportError:
        raise BadSetting(
            f"[platforms.{name}] needs apprise, which is not installed; `pip install 'nightshift[apprise]'`"
        ) from None
    return apprise
