"""
The only way to ask a model: a use in, an answer out, and what it cost.

A use names a chain of models. The next is asked when the one before is too busy, limits us, takes none of
our keys, or has used up its share of the time; what all of them refuse raises what lets the run come back
soonest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import overload

import structlog
from pydantic import BaseModel

from nightshift.base.errors import (
    BadAnswer,
    BadKeys,
    BadRequest,
    NightshiftError,
    Overloaded,
    RateLimited,
    TransientError,
)
from nightshift.llm import lexical
from nightshift.llm.calls import Bill, Calls, Errand
from nightshift.llm.prompts import PromptMessage, whole_text
from nightshift.llm.replies import Answer, ModelReply, read_reply, read_vectors, refuse_unfinished
from nightshift.llm.requests import Question, embedding_request
from nightshift.llm.sdk import load_sdk
from nightshift.llm.settings import Use
from nightshift.llm.structured import Misfit, read_value, repair_turn
from nightshift.llm.uses import NamedModel, Uses
from nightshift.money.payer import Payer
from nightshift.processes.resources import ResourceResting

log = structlog.get_logger("nightshift.llm")

#: What makes way for the next model of a chain; no other error gets better by asking somebody else.
MAKES_WAY = (RateLimited, Overloaded, ResourceResting, BadKeys)
#: Texts sent in one request for vectors, and how much of each. Of more nothing is given if one request fails.
BATCH = 32
LONGEST_TEXT = 8_000


@dataclass(frozen=True)
class Embeddings:
    """One vector for each text, and whose they are: those of different models do not compare."""

    vectors: list[list[float]]
    model: str
    dim: int
    #: In micro-USD.
    cost: int
    estimated: bool = False


class Streamed(AsyncIterator[str]):
    """An answer piece by piece; ``answer`` is the whole of it once the last piece has come."""

    def __init__(self, pieces: Callable[[Streamed], AsyncGenerator[str]]) -> None:
        self.answer: Answer[str] | None = None
        self._pieces = pieces(self)

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Stop the answer before its end: as nobody then says what it cost, all that was reserved counts."""
        await self._pieces.aclose()


class Models:
    """Every use of a model goes through here; one of these for each event loop."""

    def __init__(self, uses: Uses, calls: Calls) -> None:
        self._uses = uses
        self._calls = calls
        #: Models whose endpoint does not enforce a schema, as it told us.
        self._loose: set[NamedModel] = set()

    @overload
    async def ask(
        self,
        use: Use,
        messages: Sequence[PromptMessage],
        payer: Payer,
        *,
        schema: None = None,
        max_tokens: int | None = None,
        deadline: timedelta | None = None,
        temperature: float | None = None,
    ) -> Answer[str]: ...

    @overload
    async def ask[T: BaseModel](
        self,
        use: Use,
        messages: Sequence[PromptMessage],
        payer: Payer,
        *,
        schema: type[T],
        max_tokens: int | None = None,
        deadline: timedelta | None = None,
        temperature: float | None = None,
    ) -> Answer[T]: ...

    async def ask(
        self,
        use: Use,
        messages: Sequence[PromptMessage],
        payer: Payer,
        *,
        schema: type[BaseModel] | None = None,
        max_tokens: int | None = None,
        deadline: timedelta | None = None,
        temperature: float | None = None,
    ) -> Answer[str] | Answer[BaseModel]:
        """
        Have an answer: text, or a value of ``schema``.

        The deadline is for everything together: every model of the chain, each of which has an equal share of
        what those before it left, and the repair of an answer.
        """
        question = Question(
            tuple(messages), max_tokens or self._uses.chain(use).max_output_tokens, temperature
        )
        errand = self._errand(use, payer, deadline)
        if schema is None:
            return await self._first_to_answer(
                errand, lambda model, share: self._ask_text(model, share, question)
            )
        return await self._first_to_answer(
            errand, lambda model, share: self._ask_value(model, share, question, schema)
        )

    def stream(
        self,
        use: Use,
        messages: Sequence[PromptMessage],
        payer: Payer,
        *,
        max_tokens: int | None = None,
        deadline: timedelta | None = None,
        temperature: float | None = None,
    ) -> Streamed:
        """Have an answer as text, piece by piece; once the first piece is there no other model is asked."""
        question = Question(
            tuple(messages), max_tokens or self._uses.chain(use).max_output_tokens, temperature
        )
        errand = self._errand(use, payer, deadline)

        async def pieces(streamed: Streamed) -> AsyncGenerator[str]:
            refused = []
            for model, share in self._turns(errand):
                begun = False
                try:
                    async with aclosing(self._stream_text(model, share, question, streamed)) as texts:
                        async for text in texts:
                            begun = True
                            yield text
                except MAKES_WAY as error:
                    if begun:
                        raise
                    refused.append(error)
                else:
                    return
            raise _soonest(refused)

        return Streamed(pieces)

    async def embed(self, texts: Sequence[str], payer: Payer) -> Embeddings:
        """Have a vector for each text: by the model of ``embed``, or the lexical embedder if none is set."""
        if not self._uses.chain("embed").models:
            return Embeddings([lexical.embed(text) for text in texts], lexical.MODEL, lexical.DIMENSIONS, 0)
        errand = self._errand("embed", payer, None)
        sound = [whole_text(text)[:LONGEST_TEXT].strip() or "-" for text in texts]
        return await self._first_to_answer(errand, lambda model, share: self._embed(model, share, sound))

    async def probe(self, payer: Payer) -> Answer[str]:
        """Ask the first model of ``flash`` for a single token, whatever that is."""
        model = self._uses.chain("flash").models[0]
        question = Question((PromptMessage("user", "ping"),), max_tokens=1)
        reply, bill = await self._calls.make(
            question.request(model), self._errand("flash", payer, None), partial(read_reply, asked=str(model))
        )
        return _answer(reply.text, model, reply, [bill])

    def _errand(self, use: Use, payer: Payer, deadline: timedelta | None) -> Errand:
        seconds = (deadline or self._uses.chain(use).deadline).total_seconds()
        return Errand(use, payer, asyncio.get_running_loop().time() + seconds)

    async def _first_to_answer[R](
        self, errand: Errand, ask: Callable[[NamedModel, Errand], Awaitable[R]]
    ) -> R:
        refused = []
        for model, share in self._turns(errand):
            try:
                return await ask(model, share)
            except MAKES_WAY as error:
                refused.append(error)
        raise _soonest(refused)

    def _turns(self, errand: Errand) -> Iterator[tuple[NamedModel, Errand]]:
        """Each model in its turn, with its share of the time left: one that hangs leaves some to the next."""
        models = self._uses.chain(errand.use).models
        for asked, model in enumerate(models):
            now = asyncio.get_running_loop().time()
            yield model, replace(errand, until=now + (errand.until - now) / (len(models) - asked))

    async def _ask_text(self, model: NamedModel, errand: Errand, question: Question) -> Answer[str]:
        reply, bill = await self._reply(model, errand, question)
        return _answer(reply.text, model, reply, [bill])

    async def _ask_value[T: BaseModel](
        self, model: NamedModel, errand: Errand, question: Question, schema: type[T]
    ) -> Answer[T]:
        reply, bill = await self._reply_in_shape(model, errand, question, schema)
        bills = [bill]
        try:
            value = read_value(reply.text, schema)
        except Misfit as misfit:
            again = question.followed_by(repair_turn(reply.text, misfit))
            reply, bill = await self._reply_in_shape(model, errand, again, schema)
            bills.append(bill)
            try:
                value = read_value(reply.text, schema)
            except Misfit as still:
                raise BadAnswer(
                    f"{model} twice answered with what is no {schema.__name__}: {still}"
                ) from None
        return _answer(value, model, reply, bills)

    async def _reply_in_shape(
        self, model: NamedModel, errand: Errand, question: Question, schema: type[BaseModel]
    ) -> tuple[ModelReply, Bill]:
        if model not in self._loose:
            await load_sdk()  # it makes schemas strict
            try:
                return await self._reply(model, errand, question.strictly(schema))
            except BadRequest as refused:
                log.info("schema_refused", model=str(model), why=str(refused))
        reply = await self._reply(model, errand, question.loosely(schema))
        self._loose.add(model)  # now it is known that the schema was the matter
        return reply

    async def _reply(self, model: NamedModel, errand: Errand, question: Question) -> tuple[ModelReply, Bill]:
        reply, bill = await self._calls.make(
            question.request(model), errand, partial(read_reply, asked=str(model))
        )
        refuse_unfinished(reply, str(model))
        return reply, bill

    async def _stream_text(
        self, model: NamedModel, errand: Errand, question: Question, streamed: Streamed
    ) -> AsyncGenerator[str]:
        def end(reply: ModelReply, bill: Bill) -> None:
            refuse_unfinished(reply, str(model))
            streamed.answer = _answer(reply.text, model, reply, [bill])

        async with aclosing(self._calls.stream(question.request(model, stream=True), errand, end)) as texts:
            async for text in texts:
                yield text

    async def _embed(self, model: NamedModel, errand: Errand, texts: list[str]) -> Embeddings:
        vectors: list[list[float]] = []
        bills: list[Bill] = []
        for at in range(0, len(texts), BATCH):
            batch = texts[at : at + BATCH]
            read = partial(read_vectors, count=len(batch), asked=str(model))
            found, bill = await self._calls.make(embedding_request(model, batch), errand, read)
            vectors += found
            bills.append(bill)
        cost = sum(bill.cost for bill in bills)
        return Embeddings(
            vectors,
            model.name,
            len(vectors[0]) if vectors else 0,
            cost,
            any(bill.estimated for bill in bills),
        )


def _answer[V](value: V, model: NamedModel, reply: ModelReply, bills: Sequence[Bill]) -> Answer[V]:
    return Answer(
        value,
        reply.model or model.name,
        sum(bill.tokens_in for bill in bills),
        sum(bill.tokens_out for bill in bills),
        sum(bill.cost for bill in bills),
        reply.finish,
        any(bill.estimated for bill in bills),
    )


def _soonest(refused: Sequence[NightshiftError]) -> NightshiftError:
    """The error after which to come back first, if coming back may help."""
    transient = [error for error in refused if isinstance(error, TransientError)]
    return min(transient, key=lambda error: error.retry_after or timedelta(0)) if transient else refused[0]
