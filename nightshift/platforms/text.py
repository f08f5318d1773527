"""Texts made to fit what a platform takes: the one place where they are cut."""

from __future__ import annotations

from typing import Literal

from nightshift.base.errors import RefusedByPlatform

ELLIPSIS = "…"
#: What no platform shows, and some refuse a whole message for.
INVISIBLE = {code: None for code in range(32) if chr(code) not in "\t\n"} | {127: None}


def cut(text: str, longest: int, *, measured: Literal["utf-8", "utf-16-le"] = "utf-16-le") -> str:
    """
    The text without what cannot be shown, cut and ended with an ellipsis if it is too long.

    ``longest`` counts bytes of UTF-8, or the units of UTF-16 by which most platforms count characters.
    """
    shown = text.translate(INVISIBLE).encode("utf-8", "replace").decode()
    if not shown.strip():
        raise RefusedByPlatform("there is no text to send; leave the message out")
    measure = shown.encode(measured)
    room = longest * (1 if measured == "utf-8" else 2)
    if len(measure) <= room:
        return shown
    return measure[: room - len(ELLIPSIS.encode(measured))].decode(measured, "ignore") + ELLIPSIS
