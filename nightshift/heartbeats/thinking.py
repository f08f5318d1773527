"""
A look into a channel: one cheap model is shown what was said and answers whether to speak up.

It is given no tools, and can name no destination: whatever it answers, the worst that comes of it is a few
words in the channel that it was shown. Only if it says so does the agent's own runner go on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog
from pydantic import BaseModel

from nightshift.agents.agent import Agent
from nightshift.base.errors import (
    BadKeys,
    Frozen,
    LostLease,
    NightshiftError,
    OutOfBudget,
    OverRunCap,
    StoreFull,
    StoreUnreachable,
    TransientError,
)
from nightshift.base.instants import from_ms
from nightshift.base.refs import ChannelRef
from nightshift.base.words import clock, times
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels
from nightshift.heartbeats import plan
from nightshift.heartbeats.row import VisitRow
from nightshift.heartbeats.rule_book import RuleBook
from nightshift.heartbeats.rules import HeartbeatRules
from nightshift.heartbeats.visits import Visits
from nightshift.llm.asks import Asks
from nightshift.llm.prompts import load
from nightshift.memory.message import Message as Said
from nightshift.memory.messages import Messages
from nightshift.memory.shown import shown
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.row import RunId
from nightshift.runs.states import Outcome, done, failed, skipped
from nightshift.time.zones import zone

log = structlog.get_logger("nightshift.heartbeats")

CAUSE = "heartbeat"
#: Of each message, of all of them, and of an answer's words, so many characters.
LONGEST_WORDS = 200
LONGEST_SAY = 2_000
#: What is no fault of the channel that was looked into.
ELSEWHERE = (TransientError, BadKeys)
ANSWER_TOKENS = 400
ANSWER_WITHIN = timedelta(seconds=45)


class Decision(BaseModel):
    """What the model is asked for."""

    act: bool
    why: str
    topic: str
    say: str | None


#: What is known of a channel besides its messages, and may be told there: a summary, older messages.
Background = Callable[[Channel, Sequence[Said], Payer], Awaitable[Mapping[str, Any]]]
#: Wakes the agent: the run that does so, where, for what cause, and with what instruction.
HandOn = Callable[[Run, Agent, ChannelRef, str, str], Awaitable[RunId]]


async def no_background(channel: Channel, said: Sequence[Said], payer: Payer) -> Mapping[str, Any]:
    """Nothing."""
    return {}


@dataclass(frozen=True)
class Thinking:
    """Everything that a look takes."""

    models: Asks[Decision]
    messages: Messages
    channels: Channels
    visits: Visits
    rules: RuleBook
    agent_of: Callable[[str, str], Agent]
    hand_on: HandOn
    background: Background = no_background

    async def think(self, run: Run) -> Outcome:
        """
        Look into the run's channel, and have its agent speak up if there is reason to.

        The answer is stored before anything comes of it, so a second attempt neither pays nor speaks twice.
        """
        ref = ChannelRef.parse(run.payload["channel"])
        rules = await self.rules.read()
        try:
            return await self._think(run, ref, rules)
        except (LostLease, StoreFull, StoreUnreachable):
            raise  # of what was paid for or decided, the run's next attempt makes something
        except (Frozen, OutOfBudget, OverRunCap) as error:
            # Visits that passed are not made up for: the next comes in its own time.
            if isinstance(error, OutOfBudget):
                await self.visits.unaffordable(ref, error.needs)
            return skipped(str(error))
        except NightshiftError as error:
            return await self._failed(run, ref, rules, error)

    async def _think(self, run: Run, ref: ChannelRef, rules: HeartbeatRules) -> Outcome:
        channel = await self.channels.get(ref)
        agent = self.agent_of(channel.agent, channel.tenant)
        row = await self.visits.find(ref)
        prompt = load("nightshift.heartbeats", "heartbeat")
        if run.checkpoint is None:
            payer = Payer.of(run, Occasion.HEARTBEAT, str(ref))
            said = await self.messages.last(ref, rules.shown)
            background = await self.background(channel, said, payer)
            told = _told(channel, agent, row, said, background, now=run.started_at)
            answer = await self.models.ask(
                "flash",
                prompt.about(**told),
                payer,
                schema=Decision,
                max_tokens=ANSWER_TOKENS,
                deadline=ANSWER_WITHIN,
            )
            decision = answer.value
            await run.save(decision.model_dump())
        else:
            decision = Decision.model_validate(run.checkpoint)
        await self.visits.looked(ref, run.payload["digest"], at=run.started_at)
        facts = {"act": decision.act, "why": decision.why[:LONGEST_WORDS], "prompt": prompt.version}
        say = (decision.say or "").strip()[:LONGEST_SAY]
        if not decision.act or not say:
            return done(**{**facts, "act": False})
        topic = decision.topic[:LONGEST_WORDS]
        if refused := await self.visits.may_act(ref, run.id, marks(topic, say), topic, rules):
            return done(**facts, dropped=_refusal(*refused))
        return done(**facts, work=await self.hand_on(run, agent, ref, CAUSE, say))

    async def _failed(
        self, run: Run, ref: ChannelRef, rules: HeartbeatRules, error: NightshiftError
    ) -> Outcome:
        """
        Try again sooner or later than usual; after too many failures, not until a person says so.

        What troubles every channel alike and passes, or is mended elsewhere, pauses none of them.
        """
        failures, own = run.payload["failures"] + 1, run.payload["own_failures"]
        if not isinstance(error, ELSEWHERE):
            own += 1
        pause = plan.backoff(rules, failures)
        if isinstance(error, TransientError) and error.retry_after:
            pause = max(pause, error.retry_after)
        words = f"{type(error).__name__}: {error}"[:500]
        if own >= rules.pause_after:
            await self.channels.pause(ref, by=f"its heartbeat, which failed {times(own)}: {words}"[:300])
            failures, own, pause = 0, 0, rules.interval
        next_at = run.started_at + pause
        await self.visits.failed(ref, run.payload["generation"], failures=failures, own=own, next=next_at)
        log.warning("heartbeat_failed", channel=str(ref), failures=failures, error=words)
        return failed(words, next=clock(next_at))


def _told(
    channel: Channel,
    agent: Agent,
    row: VisitRow | None,
    said: Sequence[Said],
    background: Mapping[str, Any],
    *,
    now: datetime,
) -> dict[str, Any]:
    """What the model is shown: this channel's own words, and what may be told in it; nothing else."""
    return {
        "agent": {"name": agent.name, "about": agent.about},
        "channel": {
            "name": channel.title,
            "members": channel.members,
            "local_time": f"{now.astimezone(zone(agent.zone)):%Y-%m-%d %H:%M %A}",
        },
        **background,
        "spoke_up_about": [{"topic": act.topic, "at": clock(act.at)} for act in (row.acts if row else ())],
        "messages": shown(said),
    }


def marks(topic: str, say: str) -> list[str]:
    """What finds it again if it comes a second time: hashes, so that no word of it is kept."""
    found = (_words(topic), _words(say))
    return sorted({sha256(words.encode()).hexdigest()[:16] for words in found if words})


def _words(text: str) -> str:
    """Its words alone: texts that differ in case, spaces and punctuation have the same."""
    folded = unicodedata.normalize("NFKC", text).casefold().encode(errors="replace").decode()
    return " ".join("".join(letter if letter.isalnum() else " " for letter in folded).split())


def _refusal(word: str, value: int) -> str:
    if word == "repeated":
        return f"repeated: the same was said at {clock(from_ms(value))}"
    return f"enough: spoke up {times(value)} within a day"
