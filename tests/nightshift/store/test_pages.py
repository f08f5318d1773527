from __future__ import annotations

from random import Random

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadQuery
from nightshift.store import client
from nightshift.store.keys import Keys
from nightshift.store.pages import Place, walk


@pytest.mark.parametrize("text", ["", "x", "1", "1:", "-1:a", "1e9:a", "1.5:a", "٣:a", "12345678901234567:a"])
def test_a_place_that_no_page_named_is_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="no place in this list"):
        Place.parse(text)


@pytest.mark.parametrize("descending", [False, True])
async def test_several_indexes_are_walked_as_if_they_were_one_from_any_place_on(
    redis: Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, descending: bool
) -> None:
    monkeypatch.setattr(client, "FIRST_READ", 2)
    monkeypatch.setattr(client, "LARGEST_READ", 2)
    lot = Random(5)
    entries = [Place(lot.randrange(6), f"entry-{n}") for n in range(30)]
    names = [f"{keys.root}{n}" for n in range(3)]
    for entry in entries:
        await redis.zadd(lot.choice(names), {entry.id: entry.score})
    ordered = sorted(entries, reverse=descending)
    for begun in (None, *ordered):
        found = [place async for place in walk(redis, names, begun, descending=descending)]
        assert found == (ordered[ordered.index(begun) + 1 :] if begun else ordered)
