"""
Work that an agent's own bot comes for: claimed, renewed, answered or declined on the ledger itself.

A bot that dies stops renewing, and its work is offered again; what nobody asks for is skipped in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from nightshift.agents.agent import Agent
from nightshift.base.errors import LostLease, NotPossible, UnknownRun
from nightshift.base.instants import from_ms
from nightshift.deliveries.delivery import Delivery, NewDelivery
from nightshift.runs.ledger import Ledger
from nightshift.runs.queues import PULL
from nightshift.runs.row import RunRow
from nightshift.runs.states import State, crashed, done, retry_pause, skipped
from nightshift.work.assignment import Assignment, answer

#: Of what is offered, how much is tried before the bot is told to come again.
TRIED = 20
DECLINED = "declined by its bot"


class Speaks(Protocol):
    """Where whatever an agent says goes."""

    async def request(self, new: NewDelivery) -> Delivery: ...


@dataclass(frozen=True)
class PulledWork:
    """What a bot is to do, and how long it is its own unless it renews."""

    row: RunRow
    assignment: Assignment
    lease: timedelta


class PullWork:
    """The work of all agents whose bots come for it."""

    def __init__(self, ledger: Ledger, deliveries: Speaks) -> None:
        self._ledger = ledger
        self._deliveries = deliveries

    async def claim(self, agent: Agent, *, by: str, call: str) -> PulledWork | timedelta | None:
        """
        The next thing for this agent to do; else how soon there will be something, if that is known.

        An answer stored by somebody who died before saying it is said now rather than asked for again.
        """
        offers = self._ledger.keys.work(agent.tenant, agent.name)
        now = await self._ledger.now()
        offered: Any = await self._ledger.redis.zrange(offers, 0, TRIED - 1, withscores=True)
        for run, ready in offered:
            if from_ms(ready) > now:
                return from_ms(ready) - now
            row = await self._ledger.claim(run, worker=by, message=call)
            if not isinstance(row, RunRow):
                continue  # another process was first, or the agent is at something else
            if row.checkpoint:
                await self._say(row, answer(row, agent, row.checkpoint["text"]))
                continue
            return PulledWork(row, Assignment.of(row), self._ledger.rules.lease)
        return None

    async def renew(self, agent: Agent, run: str, token: int) -> str | None:
        """Keep the work for another lease; returns why to stop, if a person cancelled it."""
        row = await self._own(agent, run)
        stop = await self._ledger.renew(run, token)
        assert row.started is not None  # noqa: S101  what can be renewed has started
        if await self._ledger.now() > row.started + row.deadline:
            late = crashed(f"deadline: still thinking after {row.deadline}", retry_pause(row.attempts + 1))
            await self._ledger.settle(run, token, late)
            raise LostLease(f"run {run}: its bot has thought for more than {row.deadline}, and has lost it")
        return stop

    async def reply(self, agent: Agent, run: str, token: int, text: str) -> Delivery:
        """
        Say this where the work came from.

        Safe to repeat: the answer is stored before it is said, and once it is said no other counts.
        """
        row = await self._own(agent, run)
        said = answer(row, agent, text)
        if _ended_by(row, token):
            return await self._said_before(row, said)
        if stop := await self._ledger.renew(run, token, checkpoint={"text": text}):
            await self._ledger.settle(run, token, skipped(stop))
            raise NotPossible(f"run {run!r} was stopped meanwhile: {stop}")
        return await self._say(await self._ledger.get(run), said)

    async def decline(self, agent: Agent, run: str, token: int, why: str) -> None:
        """End the work without a word; `nightshift why` tells the reason."""
        row = await self._own(agent, run)
        if not _ended_by(row, token):
            await self._ledger.settle(run, token, skipped(f"{DECLINED}: {why}" if why else DECLINED))

    async def _say(self, row: RunRow, said: NewDelivery) -> Delivery:
        delivery = await self._deliveries.request(said)
        await self._ledger.settle(row.id, row.token, done(delivery=delivery.id))
        return delivery

    async def _said_before(self, row: RunRow, said: NewDelivery) -> Delivery:
        if row.state is not State.DONE:
            raise NotPossible(f"run {row.id!r} has ended without an answer: {row.reason}")
        return await self._deliveries.request(said)

    async def _own(self, agent: Agent, run: str) -> RunRow:
        row = await self._ledger.find(run)
        if row is None or (row.queue, row.tenant, row.agent) != (PULL, agent.tenant, agent.name):
            raise UnknownRun(f"no work is called {run!r}; GET /v1/work gives what there is to do")
        return row


def _ended_by(row: RunRow, token: int) -> bool:
    return row.state.ended and row.raw.get("settled_by") == str(token)
