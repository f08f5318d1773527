"""Several rounds of the same measurements, and their medians."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Mapping
from statistics import median

Figures = dict[str, float]


def options(name: str) -> ArgumentParser:
    """What every benchmark of rounds may be told."""
    parser = ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="parts whose name contains this")
    parser.add_argument("--json", action="store_true", help="also print all figures as JSON")
    return parser


def report(given: Namespace, parts: Mapping[str, Callable[[], Awaitable[Figures]]]) -> None:
    """Measure the parts in turn, round by round, and print what was found: each, then the medians."""
    found: dict[str, list[Figures]] = {name: [] for name in parts if given.only in name}
    for _ in range(given.rounds):
        for name, rounds in found.items():
            rounds.append(asyncio.run(_one(parts[name])))
            print(name, {key: round(value, 2) for key, value in rounds[-1].items()}, flush=True)
    print("\nmedians")
    for name, rounds in found.items():
        for key in rounds[0]:
            values = sorted(one[key] for one in rounds)
            print(f"  {name}: {key} {median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})")
    if given.json:
        print(json.dumps(found))


async def _one(part: Callable[[], Awaitable[Figures]]) -> Figures:
    return await part()
