"""The kinds of platform there are, and how the settings make one."""

from __future__ import annotations

from collections.abc import Callable

from redis.asyncio import Redis

from nightshift.base.errors import BadSetting
from nightshift.base.secret_file import secret_source
from nightshift.platforms import discord, slack, telegram
from nightshift.platforms.apprise import ApprisePlatform
from nightshift.platforms.discord import DiscordPlatform
from nightshift.platforms.local import LocalPlatform
from nightshift.platforms.matrix import MatrixPlatform
from nightshift.platforms.platform import Platform
from nightshift.platforms.settings import PlatformSettings
from nightshift.platforms.slack import SlackPlatform
from nightshift.platforms.telegram import TelegramPlatform
from nightshift.platforms.webhook import WebhookPlatform
from nightshift.store.keys import Keys


def new_platform(name: str, settings: PlatformSettings, redis: Redis, keys: Keys) -> Platform:
    """The platform that these settings describe; nothing is asked of it yet."""
    token_in, url = _token_in(name, settings), settings.url or ""
    token = _token(token_in, settings)
    match settings.kind:
        case "matrix":
            return MatrixPlatform(name, url, token, token_in=token_in)
        case "discord":
            return DiscordPlatform(name, token, url or discord.API, token_in=token_in)
        case "slack":
            return SlackPlatform(name, token, url or slack.API, token_in=token_in)
        case "telegram":
            return TelegramPlatform(name, token, url or telegram.API, token_in=token_in)
        case "webhook":
            return WebhookPlatform(name, url, token, token_in=token_in)
        case "apprise":
            return ApprisePlatform(name, token)
        case "local":
            return LocalPlatform(name, redis, keys)


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
