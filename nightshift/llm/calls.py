"""
One call to one endpoint: paid for, cut at its deadline, and told apart by what went wrong.

In order: is the endpoint worth asking (breaker), with which key, is there money for the dearest answer and no
freeze (purse, in one script); then the call, which a freeze cancels; then what it cost. As long as nobody
says what a call cost, it counts as the most that it can have cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from nightshift.base.errors import BadKeys, Overloaded, StoreUnreachable
from nightshift.controls.freeze import Freeze
from nightshift.llm.breaker import Breaker
from nightshift.llm.endpoints import NO_KEY, resource_name
from nightshift.llm.keypool import OK, UNAUTHORIZED, ApiKey, KeyPool
from nightshift.llm.refusals import Refusal, read_error, read_refusal
from nightshift.llm.replies import ModelReply, Pieces, Usage
from nightshift.llm.requests import Request
from nightshift.llm.settings import Use
from nightshift.llm.uses import NamedModel
from nightshift.money.payer import Payer
from nightshift.money.purse import Purse
from nightshift.processes.resources import Resources

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = structlog.get_logger("nightshift.llm")


class NotReached(Overloaded):
    """Nothing was asked: no connection came about, or no time was left to make one."""


@dataclass(frozen=True)
class Errand:
    """What a call is for, who pays, and when there has to be an answer, by the loop's clock."""

    use: Use
    payer: Payer
    until: float


@dataclass
class Bill:
    """What a call cost, as far as anybody knows: all that was reserved, until something better is said."""

    cost: int
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = True

    def charge(self, usage: Usage | None, model: NamedModel) -> None:
        """Count what the endpoint says the call took, at the list's price if it names no cost."""
        if usage is None:
            return
        self.tokens_in, self.tokens_out = usage.tokens_in, usage.tokens_out
        if usage.cost is not None:
            self.cost, self.estimated = usage.cost, False
        elif price := model.price:
            self.cost = price.cost(usage.tokens_in, usage.tokens_out, usage.tokens_cached)
            self.estimated = False


class Calls:
    """Makes calls with whatever key works, over the clients that a process keeps."""

    def __init__(
        self,
        resources: Resources,
        *,
        purse: Purse,
        freeze: Freeze,
        breaker: Breaker,
        pools: Mapping[str, KeyPool],
    ) -> None:
        """``pools`` holds the keys of each endpoint that asks for one."""
        self._resources = resources
        self._purse = purse
        self._freeze = freeze
        self._breaker = breaker
        self._pools = pools

    async def make[R](
        self, request: Request, errand: Errand, read: Callable[[object], tuple[R, Usage | None]]
    ) -> tuple[R, Bill]:
        """Have one answer, as ``read`` finds it in the body, and what it cost."""
        model = request.model
        async with self._client(model) as client:
            keys = await self._keys(model)
            while True:
                try:
                    async with self._paid(request, errand, keys.shown) as bill, self._judged(model):
                        async with self._guarded(model, keys.shown, errand):
                            body = await client.post(
                                request.path, cast_to=object, body=request.body, options=_showing(keys.shown)
                            )
                        if refusal := read_error(str(model), body, keys.shown.secret, datetime.now(UTC)):
                            raise refusal
                        value, usage = read(body)
                        bill.charge(usage, model)
                    await keys.praise()
                except Refusal as refusal:
                    await keys.replace(refusal)
                else:
                    return value, bill

    async def stream(
        self, request: Request, errand: Errand, ended: Callable[[ModelReply, Bill], None]
    ) -> AsyncGenerator[str]:
        """Give an answer piece by piece; ``ended`` is told the whole of it and what it cost."""
        model = request.model
        async with self._client(model) as client:
            from openai import AsyncStream  # which the client has loaded

            keys = await self._keys(model)
            while True:
                try:
                    async with self._paid(request, errand, keys.shown) as bill, self._judged(model):
                        async with self._guarded(model, keys.shown, errand):
                            stream = await client.post(
                                request.path,
                                cast_to=object,
                                body=request.body,
                                options=_showing(keys.shown),
                                stream=True,
                                stream_cls=AsyncStream[object],
                            )
                        pieces = Pieces()
                        async with stream:
                            while True:
                                # Only while we wait: what happens between two pieces is the caller's.
                                async with self._guarded(model, keys.shown, errand):
                                    chunk = await anext(stream, None)
                                if chunk is None:
                                    break
                                if text := pieces.add(chunk):
                                    yield text
                        bill.charge(pieces.usage, model)
                        reply = pieces.reply(str(model))
                    await keys.praise()
                except Refusal as refusal:
                    await keys.replace(refusal)
                else:
                    ended(reply, bill)
                    return

    @asynccontextmanager
    async def _client(self, model: NamedModel) -> AsyncIterator[AsyncOpenAI]:
        await self._breaker.allow(model.endpoint)
        async with self._resources.use(resource_name(model.endpoint)) as client:
            yield client

    async def _keys(self, model: NamedModel) -> _Keys:
        pool = self._pools.get(model.endpoint)
        return _Keys(pool, model.name, await pool.pick(model.name) if pool else ApiKey(NO_KEY, ""))

    @asynccontextmanager
    async def _paid(self, request: Request, errand: Errand, key: ApiKey) -> AsyncIterator[Bill]:
        """Reserve before, settle after and tell the payer, whatever happens in between."""
        hold = await self._purse.reserve(
            errand.payer, model=request.model.name, ceiling=request.ceiling, use=errand.use
        )
        bill = Bill(request.ceiling)
        charged = True
        try:
            _refuse_in_vain(request.model, errand, key)
            yield bill
        except (Refusal, NotReached):
            charged = False
            raise
        finally:
            with _outlasting("settle"):
                if charged:
                    errand.payer.spend(bill.cost)
                    spent = {"tokens_in": bill.tokens_in, "tokens_out": bill.tokens_out}
                    await self._purse.settle(hold, cost=bill.cost, **spent)
                else:
                    await self._purse.release(hold)

    @asynccontextmanager
    async def _judged(self, model: NamedModel) -> AsyncIterator[None]:
        """Tell the breaker how the endpoint did."""
        try:
            yield
        except (Overloaded, Refusal) as error:
            why = error.error if isinstance(error, Refusal) else error
            await self._record(model, ok=not isinstance(why, Overloaded))
            raise
        else:
            await self._record(model, ok=True)

    async def _record(self, model: NamedModel, *, ok: bool) -> None:
        with _outlasting("breaker"):
            await self._breaker.record(model.endpoint, ok=ok)

    @asynccontextmanager
    async def _guarded(self, model: NamedModel, key: ApiKey, errand: Errand) -> AsyncIterator[None]:
        """Cut what is done inside at the deadline or by a freeze; raise our own errors for the client's."""
        import httpx2
        import openai

        try:
            async with self._freeze.watch(), asyncio.timeout_at(errand.until):
                yield
        except TimeoutError:
            raise Overloaded(f"{model} did not finish its answer in time") from None
        except openai.APIStatusError as error:
            response = error.response
            raise read_refusal(
                str(model), response.status_code, response.headers, error.body, key.secret, datetime.now(UTC)
            ) from error
        except openai.APIConnectionError as error:
            kind = NotReached if isinstance(error.__cause__, httpx2.ConnectError) else Overloaded
            raise kind(f"{model} does not answer: {error.__cause__ or error}") from error
        except openai.APIError as error:
            raise Overloaded(f"{model} broke off its answer: {error.message}") from error
        except (ValueError, RecursionError) as error:  # not JSON, not all of it, or too deep
            raise Overloaded(f"{model} sent what cannot be read: {error}") from error


class _Keys:
    """The keys that one call shows, each once."""

    def __init__(self, pool: KeyPool | None, model: str, first: ApiKey) -> None:
        self.shown = first
        self._pool = pool
        self._model = model
        self._tried = {first.id}

    async def praise(self) -> None:
        """The endpoint took the key."""
        if self._pool:
            with _outlasting("key"):
                await self._pool.report(self.shown.id, OK, self._model)

    async def replace(self, refusal: Refusal) -> None:
        """Go on with another key if this one was the matter and there is one; else raise what went wrong."""
        pool = self._pool
        if pool is None or refusal.key is None:
            raise refusal.error from None
        await pool.report(self.shown.id, refusal.key, self._model)
        self.shown = await pool.pick(self._model)
        if self.shown.id in self._tried:
            raise refusal.error from None
        self._tried.add(self.shown.id)


def _refuse_in_vain(model: NamedModel, errand: Errand, key: ApiKey) -> None:
    """Raise if asking is in vain, so that nobody is asked."""
    if asyncio.get_running_loop().time() >= errand.until:
        raise NotReached(f"{model} was not asked: no time was left for an answer")
    if not (key.secret.isascii() and key.secret.isprintable()):
        raise Refusal(
            BadKeys(
                f"key {key.id} of endpoint {model.endpoint!r} has a character that no key can have; "
                "put it there anew"
            ),
            UNAUTHORIZED,
        )


@contextmanager
def _outlasting(what: str) -> Iterator[None]:
    """Go on while the store is away: to ask again what was answered would pay twice."""
    try:
        yield
    except StoreUnreachable as error:
        log.warning("call_not_told", what=what, why=str(error))


def _showing(key: ApiKey) -> Any:
    return {"headers": {"Authorization": f"Bearer {key.secret}"}}
