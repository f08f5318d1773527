"""What is written down is the store: loaded, it is the same store again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from tests.stored.conftest import GRAPHS, lines_of
from tests.stored.dump import dump, dump_graph, load_graph


async def test_a_store_that_was_loaded_is_written_down_alike(redis: Redis, stored: Sequence[str]) -> None:
    def without_times(lines: Sequence[str]) -> list[str]:
        return [re.sub(r'"ttl": \d+', '"ttl"', line) for line in lines]

    assert without_times(await dump(redis)) == without_times(stored[1:])


async def test_what_expires_has_as_long_to_live_as_it_had(redis: Redis, stored: Sequence[str]) -> None:
    rows = [json.loads(line) for line in stored[1:]]
    left = {row["key"]: row["ttl"] - await redis.pttl(row["key"]) for row in rows if "ttl" in row}
    assert len(left) == 101
    assert all(0 <= passed < 30_000 for passed in left.values())


@pytest.mark.parametrize("tenant", GRAPHS)
async def test_a_graph_that_was_loaded_is_written_down_alike(graphs: Redis, tenant: str) -> None:
    first, *lines = lines_of(f"graph-{tenant}")
    name = json.loads(first)["graph"]
    await load_graph(graphs, name, lines)

    def without_ids(lines: Sequence[str]) -> list[str]:
        return [re.sub(r'"node": \d+', '"node"', line) for line in lines]

    assert without_ids(await dump_graph(graphs, name)) == without_ids(lines)


def test_no_secret_stands_in_it_and_nothing_of_the_machine_that_wrote_it(stored: Sequence[str]) -> None:
    text = "\n".join([*stored, *(line for tenant in GRAPHS for line in lines_of(f"graph-{tenant}"))])
    assert not re.findall(r"nst_|whsec_|for-tests-only|made-up-key|/tmp|/home|/root|\.sock", text)
    assert set(re.findall(r"@night|/srv/\w+", text)) == {"@night", "/srv/nightshift"}
