"""The parts of memory in one deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from nightshift.base.errors import BadSetting
from nightshift.base.subject import Forgetter, SpokeIn
from nightshift.llm import lexical
from nightshift.llm.wiring import LlmParts
from nightshift.memory.embedding import Embedding
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.forgetting import MessageForgetter, ReplyForgetter, SummaryForgetter, VectorForgetter
from nightshift.memory.limits import Limits
from nightshift.memory.message_graph import EmbeddingModel, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.memory.recall import Recall
from nightshift.memory.settings import MemorySection
from nightshift.memory.summaries import Summaries
from nightshift.memory.summarising import Summarising
from nightshift.runs.ledger import Ledger
from nightshift.store.graph import NO_GRAPH, Graph
from nightshift.store.ground import Ground


@dataclass(eq=False)
class MemoryParts:
    """What was said, what can be recalled of it, and what it was summed up to."""

    ground: Ground
    settings: MemorySection
    ledger: Ledger
    llm: LlmParts

    @property
    def off(self) -> str:
        """Why nothing can be recalled; empty if there is a graph."""
        return "" if self.ground.has_graph else NO_GRAPH

    @cached_property
    def messages(self) -> Messages:
        limits = Limits.of(self.settings)
        return Messages(self.ground.redis, self.ground.keys, limits, clock=self.ground.clock)

    @cached_property
    def summaries(self) -> Summaries:
        return Summaries(self.ground.redis, self.ground.keys, clock=self.ground.clock)

    def graph(self, tenant: str) -> MessageGraph:
        """The graph of what was said to one tenant's agents."""
        if self.ground.graphs is None:
            raise BadSetting(NO_GRAPH)
        return MessageGraph(Graph(self.ground.graphs, self.ground.keys.message_graph(tenant)))

    async def embedding_model_of(self, tenant: str) -> EmbeddingModel | None:
        """What the vectors of one tenant's messages were made by."""
        return await self.graph(tenant).model()

    @cached_property
    def embedding_queue(self) -> EmbeddingQueue:
        return EmbeddingQueue(self.ledger, self.messages, off=self.off)

    @cached_property
    def embedding(self) -> Embedding:
        """What gives messages their vectors."""
        chain = self.llm.uses.chain("embed").models
        first_choice = chain[0].name if chain else lexical.MODEL
        return Embedding(
            self.embedding_queue, self.messages, self.llm.models, self.graph, first_choice=first_choice
        )

    @cached_property
    def recall(self) -> Recall:
        return Recall(self.messages, self.llm.models, self.graph, off=self.off)

    @cached_property
    def summarising(self) -> Summarising:
        """What brings summaries up to date."""
        return Summarising(self.llm.models, self.messages, self.summaries)

    # Forgetting

    @property
    def recalled(self) -> VectorForgetter:
        """What can be recalled, to be forgotten."""
        return VectorForgetter(self.ground.graphs, self.messages)

    @property
    def replies(self) -> ReplyForgetter:
        return ReplyForgetter(self.messages)

    @property
    def said(self) -> Sequence[Forgetter]:
        """What was said."""
        return MessageForgetter(self.messages), self.replies

    @property
    def made_of_it(self) -> Sequence[Forgetter]:
        """What was made of what was said."""
        return self.recalled, SummaryForgetter(self.summaries)

    @property
    def spoke_in(self) -> Sequence[SpokeIn]:
        """Whoever knows where a user has spoken."""
        return self.messages.channels_of, self.recalled.channels_of, self.summaries.channels_of
