"""Instants as the store keeps them: whole milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime.fromtimestamp(0, UTC)


def to_ms(instant: datetime) -> int:
    return (instant - EPOCH) // timedelta(milliseconds=1)


def from_ms(value: str | float) -> datetime:
    return datetime.fromtimestamp(float(value) / 1000, UTC)
