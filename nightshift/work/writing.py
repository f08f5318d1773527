"""
What an agent says if a model speaks for it: one call without tools, one delivery to where the work came from.

Whatever the model is shown and whatever it answers, the worst that comes of it is a message in that channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel

from nightshift.agents.agent import Agent
from nightshift.llm.asks import Asks
from nightshift.llm.prompts import PromptMessage, load
from nightshift.memory.messages import Messages
from nightshift.memory.shown import shown
from nightshift.money.payer import Payer
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done, skipped
from nightshift.work.assignment import Assignment, answer
from nightshift.work.pull import Speaks

#: Of what was said last in the channel, so much is shown.
SHOWN = 30
ANSWER_TOKENS = 1_000
ANSWER_WITHIN = timedelta(minutes=2)
LONGEST_REASON = 200


class Written(BaseModel):
    """What the model is asked for."""

    why: str
    say: str | None


@dataclass(frozen=True)
class Writing:
    """Everything that writing for an agent takes."""

    models: Asks[Written]
    messages: Messages
    deliveries: Speaks
    agent_of: Callable[[str], Agent]

    async def write(self, run: Run) -> Outcome:
        """
        Have a model write what the agent says, and have it delivered.

        The message is stored before it is delivered, so a second attempt neither pays nor speaks twice.
        """
        agent, prompt = self.agent_of(run.row.agent), load("nightshift.work", "agent")
        if run.checkpoint is None:
            written = await self._ask(run, agent, prompt.about(**await self._told(run, agent)))
            await run.save(written.model_dump())
        else:
            written = Written.model_validate(run.checkpoint)
        facts = {"why": written.why[:LONGEST_REASON], "prompt": prompt.version}
        if not (written.say or "").strip():
            return skipped("nothing to say", **facts)
        delivery = await self.deliveries.request(answer(run.row, agent, written.say or ""))
        return done(delivery=delivery.id, **facts)

    async def _told(self, run: Run, agent: Agent) -> dict[str, object]:
        assignment = Assignment.of(run.row)
        channel = await self.messages.channels.find(assignment.channel)
        return {
            "agent": agent.about or f"{agent.name}, a helpful member of the channel",
            "woken_by": assignment.cause,
            "asked": assignment.instruction,
            "channel": channel.title if channel else assignment.channel.id,
            "messages": shown(await self.messages.last(assignment.channel, SHOWN)),
        }

    async def _ask(self, run: Run, agent: Agent, messages: Sequence[PromptMessage]) -> Written:
        assignment = Assignment.of(run.row)
        asked = await self.models.ask(
            "chat",
            messages,
            Payer.of(run, assignment.kind, str(assignment.channel)),
            schema=Written,
            max_tokens=ANSWER_TOKENS,
            deadline=ANSWER_WITHIN,
        )
        return asked.value
