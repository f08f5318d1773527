"""Celery entries for the graph."""

from __future__ import annotations

from nightshift.deployment import deployment
from nightshift.graph.census import take_census
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done, skipped
from tasks.run import carried_out_as_run


@carried_out_as_run
async def count(run: Run) -> Outcome:
    """Count graphs, nodes and edges."""
    here = deployment()
    if not here.ground.has_graph:
        return skipped("no graph is set")
    async with here.resources.use("graph") as graphs:
        return done(**await take_census(graphs, here.keys))
