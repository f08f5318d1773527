"""What people type on the command line, read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

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
