"""Durations, instants and money in a few plain words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MILLION = 1_000_000
#: Two units say enough.
UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(duration: timedelta) -> str:
    """Say how long: ``5 ms``, ``0.4 s``, ``2 min 5 s``, ``3 d``."""
    seconds = abs(duration.total_seconds())
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    words, left = [], round(seconds)
    for name, size in UNITS:
        if number := left // size:
            words.append(f"{number} {name}")
        left %= size
        if words and (not number or len(words) == 2):
            break
    return " ".join(words)


def when(instant: datetime, now: datetime) -> str:
    """Say how far from now: ``in 4 min``, ``3 s ago``."""
    return f"in {span(instant - now)}" if instant > now else f"{span(now - instant)} ago"


def clock(instant: datetime) -> str:
    """Say when, to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def stamp(instant: datetime) -> str:
    """The instant for machines, in the form that run ids use."""
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return text.removesuffix(".000") + "Z"


def one_line(text: str, most: int) -> str:
    """Say what others wrote on one line of so many characters, without what a terminal would obey."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


def times(number: int) -> str:
    """Say how often."""
    return "once" if number == 1 else f"{number} times"


def money(micro_usd: int) -> str:
    """Say how much."""
    return f"${micro_usd / MILLION:.6f}".rstrip("0").rstrip(".")


LONGEST_NAME = 255


def fit_name(name: str) -> str:
    """A name on one line, with nothing in it that cannot be seen."""
    return "".join(letter for letter in name[:LONGEST_NAME] if letter.isprintable())
