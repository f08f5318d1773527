"""What people type on the command line, read."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from nightshift.base.errors import BadSchedule, BadSetting

#: What is typed where there shall be no such thing.
NONE = "none"

UNITS = {
    "ms": timedelta(milliseconds=1),
    "": timedelta(seconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def duration(text: str) -> timedelta:
    """Read ``200ms``, ``30s``, ``15m``, ``2h`` or ``3d``; a bare number is seconds."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([a-z]*)", text.strip())
    if not found or found[2] not in UNITS:
        raise typer.BadParameter(f"{text!r} is no duration; write 200ms, 30s, 15m, 2h or 3d")
    return float(found[1]) * UNITS[found[2]]


def past(text: str) -> datetime:
    """Read an instant, or a duration as that long ago."""
    try:
        return datetime.now(UTC) - duration(text)
    except (typer.BadParameter, OverflowError):
        return instant(text)


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; without a zone, it is this machine's time."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no instant; write 2026-11-20T12:00Z, 2026-11-20T12:00+01:00 or '2026-11-20 12:00'"
        ) from None


# Settings


#: Stands in a help or a question for the kinds that `init` offers: finding them takes a while.
KINDS = "{kinds}"


def in_full(text: str) -> str:
    """The help or the question as it is shown."""
    return text.replace(KINDS, ", ".join(offered_kinds())) if KINDS in text else text


def offered_kinds() -> list[str]:
    """The kinds of chat platform that can be set up by answers alone: nothing else has to be installed."""
    from nightshift.platforms.known import all_kinds

    return [name for name, kind in all_kinds().items() if kind.needs and not kind.extra]


def kind_or_none(text: str) -> str:
    """Read a kind of chat platform that is offered, or none."""
    known = [*offered_kinds(), NONE]
    if text not in known:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(known)}")
    return text


def address(text: str) -> str:
    """Read where something on the web is; it may hold a password, so it is not repeated."""
    from nightshift.base.fields import Address

    return _allowed(Address, text, "that is no address; write https://HOST/PATH or http://HOST/PATH")


def address_or_none(text: str) -> str:
    return text if text == NONE else address(text)


def agent_name(text: str) -> str:
    from nightshift.agents.settings import AgentName

    rule = "write small letters, digits, - and _, up to 32, a letter first"
    return _allowed(AgentName, text, f"{text!r} is no agent's name; {rule}")


def model_name(text: str) -> str:
    from nightshift.llm.settings import ModelName

    return _allowed(ModelName, text, f"{text!r} is no model's name; write what its endpoint calls it")


def zone_name(text: str) -> str:
    from nightshift.time.zones import zone

    try:
        return zone(text).key
    except BadSchedule as error:
        raise typer.BadParameter(str(error)) from error


def dollars(text: str) -> str:
    """Read a cap, such as 5, $0.25 or none, as the settings write it."""
    from nightshift.base.words import money
    from nightshift.money.caps import LARGEST, parse_cap

    try:
        cap = parse_cap(text)
    except BadSetting as error:
        raise typer.BadParameter(str(error)) from error
    if cap is None:
        return NONE
    if cap > LARGEST:
        raise typer.BadParameter(f"{money(cap)} is no cap; it is $0 to {money(LARGEST)}")
    return money(cap).removeprefix("$")


def secret_in(file: str) -> str:
    """Read what is in a file, or on standard input for ``-``."""
    try:
        found = (sys.stdin.read() if file == "-" else Path(file).expanduser().read_text()).strip()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} holds no text") from None
    if not found:
        raise typer.BadParameter("standard input is empty" if file == "-" else f"{file} is empty")
    return found


def _allowed(kind: Any, text: str, otherwise: str) -> str:
    """The text, if the settings allow it there and it can be seen."""
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        raise typer.BadParameter(otherwise) from None
    if not text.isprintable():
        raise typer.BadParameter(otherwise)
    return text
