from __future__ import annotations

import pytest

from nightshift.base.errors import RefusedByPlatform
from nightshift.platforms.text import cut


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert cut("Grüße 🌙\n\tund mehr", 2000) == "Grüße 🌙\n\tund mehr"


@pytest.mark.parametrize(
    ("text", "longest", "fits"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("🌙🌙🌙", 5, "🌙🌙…"),  # two units each
        ("🌙🌙🌙", 4, "🌙…"),  # and never half of one
    ],
)
def test_a_long_text_is_cut_and_shows_it(text: str, longest: int, fits: str) -> None:
    assert cut(text, longest) == fits


def test_bytes_are_counted_where_the_platform_counts_bytes() -> None:
    shown = cut("ü" * 100, 50, measured="utf-8")
    assert shown == "ü" * 23 + "…"
    assert len(shown.encode()) <= 50


def test_what_no_platform_shows_is_left_out() -> None:
    assert cut("a\x00b\x1b[31m\ud800c\r\n", 100) == "ab[31m?c\n"


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\x01"])
def test_nothing_is_no_message(text: str) -> None:
    with pytest.raises(RefusedByPlatform, match="no text"):
        cut(text, 100)
