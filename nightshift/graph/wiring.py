"""The parts of the graph in one deployment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nightshift.graph.census import graph_resource
from nightshift.processes.resources import Resource


def graph_resources(url: str | None) -> Iterable[Resource[Any]]:
    """The client of the graph, started by its first use."""
    return [graph_resource(url)]
