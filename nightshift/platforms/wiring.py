"""The parts of platforms in one deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

from nightshift.agents.agent import Agent
from nightshift.base.errors import BadSetting
from nightshift.base.secret_file import secret_source
from nightshift.platforms.forgetting import RoomForgetter
from nightshift.platforms.known import get_kind
from nightshift.platforms.owner import owner_of
from nightshift.platforms.platform import Described, Platform
from nightshift.platforms.settings import PlatformSettings, PlatformsSection
from nightshift.store.ground import Ground

#: What rooms of our own are called among platforms.
LOCAL = "local"


@dataclass(eq=False)
class PlatformParts:
    """The platforms of the settings, and rooms of our own."""

    ground: Ground
    settings: PlatformsSection

    @cached_property
    def by_name(self) -> Mapping[str, Platform]:
        described = self.settings.all_platforms
        made = {name: new_platform(name, each, self.ground) for name, each in described.items()}
        for platform in made.values():
            self.ground.closing.push_async_callback(platform.close)
        return made

    @cached_property
    def owner_of(self) -> partial[Agent]:
        """Says whose the channels of a platform are."""
        return partial(owner_of, self.settings)

    @property
    def forgetter(self) -> RoomForgetter:
        return RoomForgetter(self.by_name.values())


def new_platform(name: str, settings: PlatformSettings, ground: Ground) -> Platform:
    """The platform that these settings describe; nothing is asked of it yet."""
    token_in = _token_in(name, settings)
    token = _token(token_in, settings)
    return get_kind(settings.kind).made(Described(name, settings.url or "", token, token_in, ground))


def _token_in(name: str, settings: PlatformSettings) -> str:
    """Where whoever must replace the token finds it."""
    return f"[platforms.{name}]" + (f" (token_file: {settings.token_file})" if settings.token_file else "")


def _token(place: str, settings: PlatformSettings) -> Callable[[], str]:
    """What reads the token each time it is used, and refuses one that is none."""
    read = secret_source(settings.token, settings.token_file)

    def token() -> str:
        secret = read() if read else ""
        if not (secret.isascii() and secret.isprintable() and secret):
            raise BadSetting(f"the token in {place} is not one line of plain ASCII; set it anew")
        return secret

    return token
