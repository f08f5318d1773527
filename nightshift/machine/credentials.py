"""
Secrets made for the people of one home, each in a file that only its owner can read.

What is set in the environment or in ``/run/secrets`` counts before a file; ``settings`` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from tempfile import NamedTemporaryFile

from nightshift.base.errors import BadSetting
from nightshift.base.files import private_folder
from nightshift.settings import Settings

FLOWER = "flower"
WEB = "web"
REDIS = "redis-password"
BOT = "bot-"


@dataclass(frozen=True)
class Made:
    """A secret, where it is kept, and whether this call made it."""

    secret: str = field(repr=False)
    path: Path
    new: bool


def make_once(home: Path, name: str, make: Callable[[], str]) -> Made:
    """The home's secret of this name, made on the first call; of several callers at once one makes it."""
    path = secret_file(home, name)
    new = False
    if not path.exists():
        with NamedTemporaryFile("w", dir=private_folder(path.parent)) as fresh:  # 0600 before the first byte
            fresh.write(make())
            fresh.flush()
            with suppress(FileExistsError):  # another process was first, and its secret holds
                os.link(fresh.name, path)
                new = True
    return Made(read(path), path, new)


def read(path: Path) -> str:
    """The secret in this file, or why it is not one."""
    with path.open() as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise BadSetting(
                f"others can read {path}; `chmod 600 {path}`, or delete it to have a new one made"
            )
        secret = file.read().strip()
    if not secret:
        raise BadSetting(f"{path} is empty, which would mean no secret; delete it to have a new one made")
    return secret


def secret_file(home: Path, name: str) -> Path:
    return home / "secrets" / name


def make_bots_token(home: Path, agent: str, make: Callable[[], str]) -> Made:
    """The token of this agent's bot, which the web lets in once it starts."""
    return make_once(home, f"{BOT}{agent}", make)


def bots_tokens(home: Path) -> Mapping[str, str]:
    """The tokens of bots that are kept at home, by agent."""
    files = sorted(secret_file(home, "").glob(f"{BOT}*"))
    return {file.name.removeprefix(BOT): read(file) for file in files}


def redis_password(home: Path) -> str:
    """The password of this home's embedded server."""
    return make_once(home, REDIS, lambda: token_urlsafe(32)).secret


def make_flower_credentials(home: Path) -> Made:
    """A user and a password for Flower, as ``user:password``."""
    return make_once(home, FLOWER, lambda: f"flower:{token_urlsafe(24)}")


def flower_credentials(settings: Settings) -> str:
    """The ``user:password`` that opens Flower, or what to do about there being none."""
    path = secret_file(settings.home, FLOWER)
    if settings.flower_auth:
        found, where = settings.flower_auth.get_secret_value(), "setting 'flower_auth'"
    elif path.exists():
        found, where = read(path), str(path)
    else:
        raise BadSetting(
            "Flower has no credentials and does not start without; set NIGHTSHIFT_FLOWER_AUTH to "
            f"user:password, or let `nightshift up` make them in {path}"
        )
    user, _, password = found.partition(":")
    if not (user and password and found.isascii() and found.isprintable()):
        raise BadSetting(f"{where} is not user:password in plain ASCII; set NIGHTSHIFT_FLOWER_AUTH to that")
    return found
