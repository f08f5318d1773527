"""Summarising channels: the summary there is and what was said since become the next summary."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from nightshift.base.errors import BadAnswer
from nightshift.base.refs import ChannelRef
from nightshift.base.words import clock
from nightshift.channels.audience import merged
from nightshift.channels.channel import Channel
from nightshift.llm.asks import Asks
from nightshift.llm.prompts import Prompt, load
from nightshift.memory.message import DIALOGUE, Message, Origin, Place
from nightshift.memory.messages import Messages
from nightshift.memory.summaries import Summaries, Summary, SummaryStanding
from nightshift.money.payer import Occasion, Payer
from nightshift.runs.carry import Run
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome, Overlap, done, skipped

TASK = "tasks.memory.summarise_channel"
#: Of the channels in use, so many are looked at.
CHANNELS = 20
#: What one call reads at the most: messages, characters of one, characters of all.
MESSAGES, LONGEST_TEXT, LONGEST_TALK = 200, 2_000, 30_000
#: Calls of one run.
STEPS = 10
DEADLINE = timedelta(minutes=15)
LONGEST_SUMMARY, MOST_NAMED = 6_000, 60
ANSWER_TOKENS = 2_000
ANSWER_WITHIN = timedelta(seconds=120)


class Condensed(BaseModel):
    """What the model is asked for."""

    summary: str
    message_ids: list[int]


@dataclass(frozen=True)
class Reading:
    """What a summary is made of: the one that it continues, and what was said since."""

    channel: Channel
    round: int
    before: Summary | None
    said: Sequence[Message]

    @property
    def until(self) -> Place:
        return max([each.place for each in self.said] + ([self.before.until] if self.before else []))

    @property
    def numbered(self) -> Sequence[tuple[str, int]]:
        """Every message that the model hears of, in the order of the numbers that it knows them by."""
        known = list(self.before.rests_on.items()) if self.before else []
        return [*known, *((each.id, each.version) for each in self.said)]

    def data(self) -> dict[str, Any]:
        """What the model is shown."""
        first = len(self.numbered) - len(self.said)
        before = {"summary": self.before.text, "message_ids": [*range(first)]} if self.before else None
        return {
            "channel": self.channel.title,
            "summary_so_far": before,
            "messages_since": [
                {
                    "id": number,
                    "by": each.user_name or each.user_id,
                    "who": "person" if each.origin is Origin.HUMAN else "agent",
                    "at": clock(each.at),
                    "text": each.text[:LONGEST_TEXT],
                }
                for number, each in enumerate(self.said, first)
            ],
        }


@dataclass(frozen=True)
class Summarising:
    """Everything that it takes."""

    models: Asks[Condensed]
    messages: Messages
    summaries: Summaries

    async def record_changed(self, run: Run) -> dict[str, int]:
        """Record a run for each channel in use where something changed since its summary."""
        recorded = 0
        channels = await self.messages.channels.active(CHANNELS)
        for channel in channels:
            if await self._reading(channel) is None:
                continue
            source = f"summary:{channel.ref}"
            request = RunRequest(
                id=run_id(source, run.nominal),
                source=source,
                nominal=run.nominal,
                task=TASK,
                queue="memory",
                lane=source,
                overlap=Overlap.SKIP,
                deadline=DEADLINE,
                payload={"channel": str(channel.ref)},
                tenant=channel.tenant,
                agent=channel.agent,
                cause="something was said since its summary",
            )
            recorded += await run.ledger.record(request) == "recorded"
        return {"channels": len(channels), "recorded": recorded}

    async def summarise(self, run: Run) -> Outcome:
        """
        Read on where the summary ends, a part at a time; each part's summary holds before the next is read.

        An answer is stored before it comes to hold, so a second attempt pays only for what is left to read.
        """
        ref = ChannelRef.parse(run.payload["channel"])
        prompt = load("nightshift.memory", "summary")
        read = calls = 0
        for _ in range(STEPS):
            channel = await self.messages.channels.find(ref)
            reading = await self._reading(channel) if channel else None
            if reading is None:
                break
            summary = await self._summary(run, reading, prompt)
            await self.summaries.keep(ref, summary, round=reading.round, read=reading.said)
            read, calls = read + len(reading.said), calls + 1
        if not calls:
            return skipped("nothing was said since its summary")
        return done(messages=read, calls=calls, prompt=prompt.version)

    async def _reading(self, channel: Channel) -> Reading | None:
        """What is to be read next; nothing if nothing changed."""
        standing = await self.summaries.standing(channel)
        before = standing.summary if await self._still_holds(channel.ref, standing) else None
        said: list[Message] = []
        room = LONGEST_TALK
        async with aclosing(self._unread(channel.ref, before.until if before else None)) as unread:
            async for each in unread:
                if each.origin not in DIALOGUE:
                    continue
                room -= len(each.text[:LONGEST_TEXT])
                if said and (room < 0 or len(said) == MESSAGES):
                    break
                said.append(each)
        return Reading(channel, standing.round, before, said) if said else None

    async def _unread(self, ref: ChannelRef, place: Place | None) -> AsyncGenerator[Message]:
        """What was said up to this place but told too late for the summary, then what was said since."""
        if place:
            for each in await self.messages.late(ref, place):
                yield each
        while page := await self.messages.after(ref, place, MESSAGES):
            for each in page:
                yield each
            place = page[-1].place

    async def _still_holds(self, ref: ChannelRef, standing: SummaryStanding) -> bool:
        """Whether nothing that the summary rests on was changed or taken back since."""
        if standing.summary is None:
            return False
        rests_on = standing.summary.rests_on
        known = await self.messages.find(ref, list(rests_on))
        # What is not known any more was too old to be kept; what is forgotten takes its summaries along.
        return all(each.version == rests_on[each.id] for each in known.values())

    async def _summary(self, run: Run, reading: Reading, prompt: Prompt) -> Summary:
        place = {"round": reading.round, "read": [each.id for each in reading.said]}
        if run.checkpoint is not None and run.checkpoint["place"] == place:
            return Summary.from_json(run.checkpoint["summary"])
        answer = await self.models.ask(
            "chat",
            prompt.about(**reading.data()),
            Payer.of(run, Occasion.MEMORY, str(reading.channel.ref)),
            schema=Condensed,
            max_tokens=ANSWER_TOKENS,
            deadline=ANSWER_WITHIN,
        )
        before = reading.before
        summary = Summary(
            text=_text(answer.value),
            rests_on=_rests_on(answer.value, reading),
            until=reading.until,
            messages=len(reading.said) + (before.messages if before else 0),
            audience=merged(
                {each.audience for each in reading.said} | ({before.audience} if before else set()),
                reading.channel,
            ),
            at=run.started_at,
            run=run.id,
            model=answer.model,
            prompt=prompt.version,
        )
        await run.save({"place": place, "summary": summary.to_json()})
        return summary


def _text(condensed: Condensed) -> str:
    if text := condensed.summary.strip():
        return text[:LONGEST_SUMMARY]
    raise BadAnswer("the model answered with an empty summary")


def _rests_on(condensed: Condensed, reading: Reading) -> dict[str, int]:
    """The messages that the model names, as far as it was shown them."""
    shown = reading.numbered
    named = [shown[number] for number in dict.fromkeys(condensed.message_ids) if 0 <= number < len(shown)]
    if not named:
        raise BadAnswer(
            f"the model names {len(condensed.message_ids)} messages that its summary rests on, "
            f"and none of them is among the {len(shown)} that it was shown"
        )
    return dict(named[:MOST_NAMED])
