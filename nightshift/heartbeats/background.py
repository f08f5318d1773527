"""What a look is told besides the last messages: a summary, and older messages that may matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from nightshift.base.errors import NightshiftError
from nightshift.base.words import clock
from nightshift.channels.channel import Channel
from nightshift.memory.message import Message
from nightshift.memory.recall import Recall
from nightshift.memory.summaries import Summaries
from nightshift.money.payer import Payer

log = structlog.get_logger("nightshift.heartbeats")

#: The messages that are looked for by what they say, and those that may come to mind.
ASKED, RECALLED = 3, 5
LONGEST_SUMMARY, LONGEST_MEMORY = 4_000, 500


class Background:
    """
    A channel's own summary, and what ``Recall`` lets it see; nothing of any other.

    Without either, a look goes by the last messages alone.
    """

    def __init__(self, summaries: Summaries, recall: Recall) -> None:
        self._summaries = summaries
        self._recall = recall

    async def told(self, channel: Channel, said: Sequence[Message], payer: Payer) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        if summary := (await self._summaries.standing(channel)).summary:
            found["summary"] = summary.text[:LONGEST_SUMMARY]
        if memories := await self._memories(channel, said, payer):
            found["older_messages"] = memories
        return found

    async def _memories(
        self, channel: Channel, said: Sequence[Message], payer: Payer
    ) -> list[dict[str, str]]:
        if self._recall.off or not said:
            return []
        query = " ".join(each.text for each in said[-ASKED:])
        known = {(each.ref, each.id) for each in said}
        try:
            found = await self._recall.search(query, channel.ref, RECALLED + len(said), payer=payer)
        except NightshiftError as error:
            log.warning("not_recalled", channel=str(channel.ref), why=f"{type(error).__name__}: {error}")
            return []
        new = [each for each in found.messages if (each.ref, each.id) not in known]
        return [{"at": clock(each.at), "text": each.text[:LONGEST_MEMORY]} for each in new[:RECALLED]]
