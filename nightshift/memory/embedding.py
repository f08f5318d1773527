"""Giving messages their vectors, so that they can be recalled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from redis.asyncio import Redis

from nightshift.base.errors import BadKeys, Frozen, Overloaded, PermanentError, TransientError
from nightshift.base.masking import reason_of
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.llm.models import BATCH
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.message import DIALOGUE, Message
from nightshift.memory.message_graph import EmbeddingModel, GraphEntry, MessageGraph
from nightshift.memory.messages import Messages
from nightshift.money.payer import Payer
from nightshift.store.keys import Keys

log = structlog.get_logger("nightshift.memory")

#: Calls of one run before it makes room for others. Each is one request, so that what it got is kept whatever
#: the next one meets.
BATCHES = 60
#: A longer text is found by how it begins.
LONGEST = 4_000
#: Messages that a tenant's graph keeps; the oldest go.
KEPT = 200_000
#: What was refused is tried again after this, unless whoever refused it said when.
AGAIN = timedelta(minutes=15)
#: So many texts refused, and none taken, say something of the model and not of the texts.
SAYS_ENOUGH = 3


class TextVectors(Protocol):
    """What a model made of some texts."""

    @property
    def vectors(self) -> Sequence[Sequence[float]]: ...
    @property
    def model(self) -> str: ...
    @property
    def dim(self) -> int: ...


class Embedder(Protocol):
    """Whoever makes vectors of texts."""

    async def embed(self, texts: Sequence[str], payer: Payer) -> TextVectors: ...


@dataclass(frozen=True)
class Vectors:
    """Vectors for some messages, and those that the model would not take."""

    model: EmbeddingModel
    by_message: list[tuple[Message, Sequence[float]]]
    refused: list[Message]


class Embedding:
    """The way from messages that wait to vectors in the graph of their tenant."""

    def __init__(
        self,
        queue: EmbeddingQueue,
        messages: Messages,
        embedder: Embedder,
        graph_of: Callable[[str], MessageGraph],
        *,
        first_choice: str = "",
        kept: int = KEPT,
    ) -> None:
        """``first_choice``: the model whose vectors are kept; those of one that stands in for it are not."""
        self._queue = queue
        self._messages = messages
        self._embedder = embedder
        self._graph_of = graph_of
        self._first_choice = first_choice
        self._kept = kept
        self._redis: Redis = messages.redis
        self._keys: Keys = messages.keys

    async def see_to_waiting(self, payer: Payer, now: datetime) -> dict[str, Any]:
        """
        Embed what has waited since ``now`` or longer, then what another model has embedded; says how much.

        What is refused goes on waiting, and keeps nobody else's from theirs. A batch is paid for twice if the
        process dies before it is stored: vectors are too large for a checkpoint.
        """
        told, why = await self._see_to_strays(now)
        for _ in range(BATCHES):
            waiting = await self._queue.take(now, BATCH)
            for tenant, messages in _by_tenant(waiting).items():
                try:
                    told += await self._see_to(messages, replace(payer, tenant=tenant), now)
                except Frozen:
                    raise
                except (TransientError, BadKeys, _ModelRefuses) as error:
                    why = reason_of(error)
                    pause = getattr(error, "retry_after", None) or AGAIN
                    await self._queue.postpone(messages, now + pause)
                    told["postponed"] += len(messages)
            if len(waiting) < BATCH:
                break
        for tenant in await self._outdated():
            try:
                told += await self._embed_again(replace(payer, tenant=tenant))
            except Frozen:
                raise
            except (TransientError, PermanentError) as error:
                why = reason_of(error)
        if coming := await self._queue.next():
            await self._queue.wake(coming)
        elif await self._outdated():
            await self._queue.wake(now + AGAIN if why else now)
        return {**told, **({"why": why} if why else {})}

    async def _see_to_strays(self, now: datetime) -> tuple[Counter[str], str]:
        told: Counter[str] = Counter()
        why = ""
        for _ in range(BATCHES):
            if not (strays := await self._queue.strays.take(now, BATCH)):
                break
            for tenant, ids in strays.items():
                try:
                    told["removed"] += await self._remove_strays(tenant, ids)
                except TransientError as error:
                    why = reason_of(error)
                    await self._queue.strays.postpone(tenant, ids, now + AGAIN)
        return told, why

    async def _see_to(self, messages: Sequence[Message], payer: Payer, now: datetime) -> Counter[str]:
        graph = self._graph_of(payer.tenant)
        wanted = [each for each in messages if _is_wanted(each)]
        unwanted = [each for each in messages if not _is_wanted(each)]
        await graph.remove([_id(each) for each in unwanted])
        await self._messages.mark_embedded(unwanted, "")
        told = Counter(removed=len(unwanted))
        if not wanted:
            return told
        vectors = await self._embed(wanted, payer)
        if await graph.model() != vectors.model:
            # First, so that whoever goes on after us knows that there may be vectors of another.
            await self._redis.sadd(self._keys.outdated, payer.tenant)
            await graph.prepare(vectors.model)
        embedded = [each for each, _ in vectors.by_message]
        ids = [_id(each) for each in embedded]
        await self._queue.strays.add(payer.tenant, ids, now)
        await graph.put(vectors.model, [(_entry(each), vector) for each, vector in vectors.by_message])
        removed = await self._remove_strays(payer.tenant, ids)
        # There may be vectors of what they said before.
        await graph.remove([_id(each) for each in vectors.refused])
        await self._messages.mark_embedded(embedded, vectors.model.name)
        await self._messages.mark_embedded(vectors.refused, "")
        trimmed = await graph.trim(self._kept)
        return told + Counter(
            embedded=len(embedded) - removed,
            refused=len(vectors.refused),
            trimmed=trimmed,
        )

    async def _embed(self, messages: Sequence[Message], payer: Payer) -> Vectors:
        try:
            return await self._embed_together(messages, payer)
        except BadKeys:
            raise
        except PermanentError as error:
            # One text may be what the model will not take.
            log.warning("batch_not_embedded", texts=len(messages), why=reason_of(error))
            return await self._embed_one_by_one(messages, payer)

    async def _embed_together(self, messages: Sequence[Message], payer: Payer) -> Vectors:
        model, vectors = await self._ask([each.text[:LONGEST] for each in messages], payer)
        return Vectors(model, list(zip(messages, vectors, strict=True)), [])

    async def _ask(
        self, texts: Sequence[str], payer: Payer
    ) -> tuple[EmbeddingModel, Sequence[Sequence[float]]]:
        made = await self._embedder.embed(texts, payer)
        if self._first_choice not in ("", made.model):
            raise Overloaded(
                f"{made.model} stood in for {self._first_choice}, and their vectors do not compare; "
                "let only the same model stand in for embed"
            )
        return EmbeddingModel(made.model, made.dim), made.vectors

    async def _embed_one_by_one(self, messages: Sequence[Message], payer: Payer) -> Vectors:
        model: EmbeddingModel | None = None
        found: list[tuple[Message, Sequence[float]]] = []
        refused: list[Message] = []
        for each in messages:
            try:
                made = await self._embed_together([each], payer)
            except PermanentError as error:
                refused.append(each)
                log.warning(
                    "message_not_embedded", channel=str(each.ref), message=each.id, why=reason_of(error)
                )
                if len(refused) >= SAYS_ENOUGH and not found:
                    raise _ModelRefuses(reason_of(error)) from error
            else:
                model = made.model
                found += made.by_message
        if model is None:
            raise _ModelRefuses(f"none of {len(messages)} texts was taken")
        return Vectors(model, found, refused)

    async def _remove_strays(self, tenant: str, ids: Sequence[str]) -> int:
        """Remove from the graph those of these that nothing, or nothing to be recalled, is known of."""
        asked: dict[ChannelRef, list[str]] = {}
        for id in ids:
            ref, _, message = id.partition(" ")
            asked.setdefault(ChannelRef.parse(ref), []).append(message)
        found = [each for ref in asked for each in (await self._messages.find(ref, asked[ref])).values()]
        known = {_id(each) for each in found if _is_wanted(each)}
        removed = await self._graph_of(tenant).remove([id for id in ids if id not in known])
        await self._queue.strays.drop(tenant, ids)
        return removed

    async def _outdated(self) -> list[str]:
        members: Any = self._redis.smembers(self._keys.outdated)
        return sorted(await members)

    async def _embed_again(self, payer: Payer) -> Counter[str]:
        """Replace vectors of a model that is no longer asked; the texts are those in the graph."""
        graph = self._graph_of(payer.tenant)
        told: Counter[str] = Counter()
        for _ in range(BATCHES):
            model = await graph.model()
            entries = await graph.outdated(model, BATCH) if model else []
            if not entries:
                await self._redis.srem(self._keys.outdated, payer.tenant)
                break
            model, vectors = await self._ask([each.text for each in entries], payer)
            await graph.prepare(model)
            await graph.put(model, zip(entries, vectors, strict=True), known=True)
            told += Counter(embedded_again=len(entries))
        return told


class _ModelRefuses(PermanentError):
    """The model takes none of the texts, so it is not for the texts to be given up."""


def _is_wanted(message: Message) -> bool:
    return bool(message.origin in DIALOGUE and not message.deleted and message.text.strip())


def _by_tenant(messages: Sequence[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for each in messages:
        found.setdefault(each.tenant, []).append(each)
    return found


def _id(message: Message) -> str:
    return f"{message.ref} {message.id}"


def _entry(message: Message) -> GraphEntry:
    return GraphEntry(
        id=_id(message),
        ref=str(message.ref),
        user=str(UserRef(message.ref.platform, message.user_id)) if message.user_id else "",
        text=message.text[:LONGEST],
        audience=message.audience,
        at=message.at,
    )
