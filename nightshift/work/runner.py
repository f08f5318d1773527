"""Waking an agent: whatever it then says, it says by its own runner."""

from __future__ import annotations

from datetime import timedelta

from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.money.payer import Occasion
from nightshift.runs.carry import Run
from nightshift.runs.queues import PULL
from nightshift.runs.row import RunId, RunRequest
from nightshift.work.assignment import Assignment

#: What carries the work out if a model writes the message; a bot that comes for it is told the cause.
TASK = "tasks.agents.write"
#: How long a bot may think, however often it renews.
BOT_DEADLINE = timedelta(minutes=15)
MODEL_DEADLINE = timedelta(minutes=3)


async def hand_to_runner(
    run: Run, agent: Agent, ref: ChannelRef, cause: str, text: str, *, kind: Occasion = Occasion.HEARTBEAT
) -> RunId:
    """
    Record work for the agent, on account of this run; returns the id of the work's own run.

    Safe to repeat: a run that hands on twice hands on once.
    """
    pulled = agent.runner == "pull"
    request = RunRequest(
        id=RunId(f"work:{run.id}"),
        source=f"work:{agent.name}:{ref}",
        nominal=run.nominal,
        task=TASK,
        queue=PULL if pulled else "agents",
        ready=run.started_at,
        lane=agent.lane,
        deadline=BOT_DEADLINE if pulled else MODEL_DEADLINE,
        payload=Assignment(ref, cause, text, kind).to_payload(),
        tenant=agent.tenant,
        agent=agent.name,
        cause=f"{cause}, handed on by {run.id}",
    )
    await run.ledger.record(request)
    return request.id
