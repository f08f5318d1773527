"""What was said, as a model is shown it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nightshift.base.words import clock
from nightshift.memory.message import Message as Said
from nightshift.memory.message import Origin

LONGEST_TEXT, LONGEST_TALK = 1_000, 12_000


def shown(said: Sequence[Said]) -> list[dict[str, Any]]:
    """The messages as data, oldest first; of a long talk its end."""
    kept: list[dict[str, Any]] = []
    room = LONGEST_TALK
    for each in reversed(said):
        text = each.text[:LONGEST_TEXT]
        room -= len(text)
        if room < 0:
            break
        ours = each.own or each.origin is Origin.HEARTBEAT
        kept.append(
            {"at": clock(each.at), "by": "you" if ours else each.user_name or each.user_id, "text": text}
        )
    return kept[::-1]
