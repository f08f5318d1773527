"""Apprise itself is not installed here: something stands in for it that notes what it is told."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, ClassVar

import pytest

from nightshift.base.errors import BadSetting, SendUnknown
from nightshift.platforms.apprise import ApprisePlatform
from nightshift.platforms.platform import Outgoing

SECRET_URL = "slack://TokenA/TokenB/TokenC/{channel}"


class Services:
    """Apprise as far as it is used, one for each message as in the real one."""

    known = True
    works = True
    told: ClassVar[list[tuple[str, dict[str, Any]]]]

    def add(self, url: str) -> bool:
        self.url = url
        return self.known

    def notify(self, **message: Any) -> bool:
        self.told.append((self.url, message))
        return self.works


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> type[Services]:
    stand_in = ModuleType("apprise")
    fresh = type("Services", (Services,), {"told": []})
    stand_in.Apprise = fresh  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "apprise", stand_in)
    return fresh


@pytest.fixture
def apprise() -> ApprisePlatform:
    return ApprisePlatform("feishu", lambda: SECRET_URL)


async def test_the_channel_stands_where_the_url_has_a_place_for_it(
    services: type[Services], apprise: ApprisePlatform
) -> None:
    sent = await apprise.send(Outgoing("#general/x", "Hello", key="run/0"))
    assert sent.message_id == "run/0"
    assert services.told == [
        ("slack://TokenA/TokenB/TokenC/%23general%2Fx", {"body": "Hello", "body_format": "text"})
    ]
    assert (await apprise.ready()).ready


async def test_a_message_that_was_not_confirmed_is_not_sent_again(
    services: type[Services], apprise: ApprisePlatform
) -> None:
    services.works = False
    assert not apprise.repeatable
    with pytest.raises(SendUnknown):
        await apprise.send(Outgoing("general", "Hello", key="run/0"))


async def test_a_url_that_apprise_does_not_know_is_told_and_not_shown(
    services: type[Services], apprise: ApprisePlatform
) -> None:
    services.known = False
    readiness = await apprise.ready()
    assert not readiness.ready
    assert "[platforms.feishu] is no URL that apprise knows" in readiness.why
    assert "Token" not in readiness.why


async def test_without_apprise_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, apprise: ApprisePlatform
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    assert "pip install 'nightshift[apprise]'" in (await apprise.ready()).why
    with pytest.raises(BadSetting, match="not installed"):
        await apprise.send(Outgoing("general", "Hello", key="run/0"))
