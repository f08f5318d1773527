"""
Recalling what was said, by meaning and by word, for a channel that may come to know it.

What a channel may not see is left out within the query. What is found is looked at once more by what is known
of message and channel now: the graph is a moment behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from nightshift.base.errors import NightshiftError, NotPossible
from nightshift.base.masking import reason_of
from nightshift.base.refs import ChannelRef
from nightshift.channels.audience import may_see, narrowed, seen_by
from nightshift.channels.channel import Channel
from nightshift.memory.embedding import LONGEST, Embedder
from nightshift.memory.message import DIALOGUE
from nightshift.memory.message_graph import Found, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.memory.strays import Strays
from nightshift.money.payer import Payer

log = structlog.get_logger("nightshift.memory")

MOST = 50
#: Either search is asked for so many times as many, because what both find counts for more.
BREADTH = 3
#: How little the first place counts for more than the second (reciprocal rank fusion).
FLATNESS = 60


@dataclass(frozen=True)
class Recalled:
    """One message; its text is somebody's words, and never an instruction."""

    ref: ChannelRef
    id: str
    text: str
    at: datetime
    audience: str
    score: float


@dataclass(frozen=True)
class Recollection:
    """What came to mind, the best first; ``why`` says why it was found by its words alone, if it was."""

    messages: Sequence[Recalled]
    why: str = ""


class Recall:
    """Searches in the graphs of the tenants' messages."""

    def __init__(
        self,
        messages: Messages,
        embedder: Embedder,
        graph_of: Callable[[str], MessageGraph],
        *,
        off: str = "",
    ) -> None:
        """``off`` says why there is no graph to search, if there is none."""
        self.off = off
        self._messages = messages
        self._embedder = embedder
        self._graph_of = graph_of
        self._strays = Strays(messages.redis, messages.keys)

    async def search(
        self, query: str, destination: ChannelRef, limit: int = 10, *, payer: Payer
    ) -> Recollection:
        """
        What was said about this, as far as the destination may see it.

        Raises NotPossible without a graph. Without a model's vector it goes by the words.
        """
        if self.off:
            raise NotPossible(f"nothing can be recalled: {self.off}")
        limit = max(1, min(limit, MOST))
        channel = await self._messages.channels.get(destination)
        graph = self._graph_of(channel.tenant)
        audiences = seen_by(channel)
        if await graph.model() is None:
            return Recollection((), "nothing has been embedded yet")
        by_word = await graph.matching(query[:LONGEST], audiences, limit * BREADTH)
        by_meaning: list[Found] = []
        why = ""
        try:
            by_meaning = await self._nearest(graph, query, audiences, limit * BREADTH, payer)
        except NightshiftError as error:
            why = reason_of(error)
            log.warning("recalled_by_word", why=why)
        ranked = _fused(by_word, by_meaning)
        return Recollection((await self._confirmed(ranked, channel, graph))[:limit], why)

    async def _nearest(
        self, graph: MessageGraph, query: str, audiences: Sequence[str], limit: int, payer: Payer
    ) -> list[Found]:
        made = await self._embedder.embed([query[:LONGEST]], payer)
        model = await graph.model()
        if model is None or (made.model, made.dim) != (model.name, model.dimension):
            raise NotPossible(f"the messages are not embedded by {made.model} yet")
        return await graph.nearest(model, made.vectors[0], audiences, limit)

    async def _confirmed(
        self, ranked: Sequence[tuple[float, Found]], destination: Channel, graph: MessageGraph
    ) -> list[Recalled]:
        """Those of them that are still so, with what their text is now."""
        ids: dict[ChannelRef, list[str]] = {}
        for _, found in ranked:
            ids.setdefault(ChannelRef.parse(found.ref), []).append(_message_id(found))
        channels = {each.ref: each for each in await self._messages.channels.rows(list(ids))}
        known = {ref: await self._messages.find(ref, ids[ref]) for ref in channels}
        strays = await self._strays.among(destination.tenant, [found.id for _, found in ranked])
        stale: set[tuple[str, str, str]] = set()
        confirmed = []
        for score, found in ranked:
            ref = ChannelRef.parse(found.ref)
            if ref not in channels:
                continue
            audience = narrowed(found.audience, channels[ref])
            if audience != found.audience:
                stale.add((found.ref, found.audience, audience))
            message = known[ref].get(_message_id(found))
            if (message.deleted or message.origin not in DIALOGUE) if message else found.id in strays:
                continue
            if may_see(message.audience if message else audience, destination):
                text = message.text if message else found.text
                confirmed.append(Recalled(ref, _message_id(found), text, found.at, audience, score))
        for each in stale:
            # A channel was made more private since: the next search need not step over its messages.
            await graph.change_audience(*each)
        return confirmed


def _fused(*rankings: Sequence[Found]) -> list[tuple[float, Found]]:
    """One ranking of several: what stands high in more of them stands higher."""
    scores: dict[str, float] = {}
    found: dict[str, Found] = {}
    for ranking in rankings:
        for place, each in enumerate(ranking):
            scores[each.id] = scores.get(each.id, 0) + 1 / (FLATNESS + place + 1)
            found[each.id] = each
    return sorted(((scores[id], found[id]) for id in found), key=lambda pair: -pair[0])


def _message_id(found: Found) -> str:
    return found.id.partition(" ")[2]
