"""Names that the benchmark and its stock worker share."""

from __future__ import annotations

#: How late each stock visit was.
NOTED = "bench:noted"
#: Before the stock worker's keys in the broker.
STOCK_PREFIX = "stock:"
