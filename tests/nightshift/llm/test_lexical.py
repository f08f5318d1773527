"""The lexical embedder: the same for everybody, and near where words are shared."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from nightshift.llm.lexical import DIMENSIONS, embed


def likeness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))


@given(st.text(alphabet=st.characters(categories=None), max_size=200))
def test_every_text_has_a_vector_of_length_one(text: str) -> None:
    vector = embed(text)

    assert len(vector) == DIMENSIONS
    assert math.isclose(math.hypot(*vector), 1)
    assert embed(text) == vector


def test_the_vectors_stored_today_are_the_vectors_of_tomorrow() -> None:
    vector = embed("The boat race starts at noon.")

    largest = sorted(range(DIMENSIONS), key=lambda at: -abs(vector[at]))[:3]
    assert [(at, round(vector[at], 4)) for at in largest] == STORED


#: Changing the embedder makes everything stored with it worthless: then its name changes too.
STORED = [(39, -0.3043), (119, -0.3043), (134, 0.3043)]


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    asked = "when does the boat race start?"

    assert likeness(asked, "The boat race starts at noon.") > 0.4
    assert likeness(asked, "Le chat dort sous la table") < 0.2
    assert likeness("sailing boats", "a boat sails") > likeness("sailing boats", "cooking rice") + 0.1
    assert likeness("Grüße, STRASSE", "grüsse strasse") > 0.5
