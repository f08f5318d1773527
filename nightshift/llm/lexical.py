"""
Vectors without a model: the words of a text and their pieces, hashed into a fixed number of places.

Texts that share words, or parts of words, come near each other; texts that only mean the same do not. It
stands in where no embedding model is set, and says so by its name.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b

from nightshift.llm.prompts import whole_text

MODEL = "lexical-v1"
DIMENSIONS = 256
#: Lengths of the pieces, and how much one counts against a whole word.
PIECES = (3, 4)
PIECE_WEIGHT = 0.4
#: More of a text than this is not read.
LONGEST = 8_000

Vector = list[float]


def embed(text: str) -> Vector:
    """The text's vector, of length one; the same text has the same vector everywhere and always."""
    places = [0.0] * DIMENSIONS
    for feature, weight in _features(text):
        place, sign = _place(feature)
        places[place] += sign * weight
    length = math.hypot(*places)
    if not length:  # no words at all, or ones that cancel out
        return [1.0] + [0.0] * (DIMENSIONS - 1)
    return [value / length for value in places]


def _features(text: str) -> Iterator[tuple[str, float]]:
    words = Counter(re.findall(r"\w+", unicodedata.normalize("NFKC", whole_text(text)[:LONGEST]).casefold()))
    for word, count in words.items():
        # What is said ten times is not ten times as much about it.
        weight = 1 + math.log(count)
        yield f"w {word}", weight
        marked = f"<{word}>"
        for size in PIECES:
            for at in range(len(marked) - size + 1):
                yield f"p {marked[at : at + size]}", weight * PIECE_WEIGHT


@lru_cache(maxsize=50_000)
def _place(feature: str) -> tuple[int, int]:
    number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
    return number % DIMENSIONS, 1 if number >> 63 else -1
