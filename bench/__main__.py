"""``python -m bench``: every benchmark, one after the other."""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    for name in (
        "bench.pool",
        "bench.pulse",
        "bench.heartbeats",
        "bench.tenants",
        "bench.models",
        "bench.events",
        "bench.listing",
        "bench.console",
        "bench.backfill",
        "bench.night",
    ):
        print(f"\n== {name}", flush=True)
        sys.argv = [name]
        runpy.run_module(name, run_name="__main__")


if __name__ == "__main__":
    main()
