"""
The simulated model as an HTTP server.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from nightshift.base.errors import BadSetting
from nightshift.demo.model.answers import (
    LABEL,
    ChatQuestion,
    EmbeddingQuestion,
    ModelsQuestion,
    SimulatedAnswer,
    SimulatedQuestion,
)
from nightshift.demo.model.calls import BadCall, Wishes, read_body, read_model, read_wishes
from nightshift.demo.model.faults import Fault, FaultRule, FaultScript
from nightshift.demo.model.ledger import CallLedger, Row

type ReadQuestion = Callable[[Mapping[str, Any], str, int], SimulatedQuestion]

HEADERS = {"x-simulated": "true"}
LARGEST_BODY = 64 * 1024 * 1024
#: Thousands of callers may connect in the same instant.
BACKLOG = 4096

#: What a fault named after a status says: the kind of error, its code and its message.
STATUS_FAULTS: Mapping[str, tuple[str, str, str]] = {
    "401": ("invalid_request_error", "invalid_api_key", "this API key is not accepted"),
    "402": ("insufficient_quota", "insufficient_credits", "this account has no credits left"),
    "429": ("requests", "rate_limit_exceeded", "too many requests, come back later"),
    "500": ("server_error", "server_error", "something broke on the other side"),
    "503": ("server_error", "service_unavailable", "the service is not available"),
    "529": ("overloaded_error", "overloaded", "the model is overloaded"),
}


@dataclass(frozen=True)
class SimulatedModelOptions:
    """How a simulated model behaves from its start."""

    host: str = "127.0.0.1"
    #: 0 takes any free port.
    port: int = 0
    #: Let ``host`` be an address that other machines can reach.
    allow_remote: bool = False
    #: How long every answer takes, unless the request says otherwise.
    latency: timedelta = timedelta(0)
    #: The key callers must show; None lets everybody in.
    api_key: str | None = field(default=None, repr=False)
    faults: tuple[FaultRule, ...] = ()
    seed: int = 0
    #: What structured answers hold under these names, drawn by the question: of all names the same place.
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse to become reachable from outside by mistake."""
        try:
            local = ip_address(self.host).is_loopback
        except ValueError:
            local = False
        if not (local or self.allow_remote):
            raise BadSetting(
                f"host={self.host!r} is not a loopback address: use 127.0.0.1, "
                "or set allow_remote if other machines shall be able to call it"
            )


class SimulatedModel:
    """A running simulated model: where it is, and what it was asked so far."""

    def __init__(self, options: SimulatedModelOptions) -> None:
        self.options = options
        self.port = options.port
        self.reset()

    @property
    def origin(self) -> str:
        """The address below which everything lies."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self.origin}/v1"

    @property
    def requests(self) -> Mapping[tuple[str, str], Row]:
        """Counts, tokens and cost by model and path, since the start or the last reset."""
        return self._ledger.rows

    @property
    def total(self) -> Row:
        """All of ``requests`` together."""
        return self._ledger.total

    def set_faults(self, *rules: FaultRule) -> None:
        """Put these rules in place of those still to be carried out."""
        self._script = FaultScript(rules)

    def reset(self) -> None:
        """Forget every call, and take up the faults it was started with."""
        self._ledger = CallLedger()
        self._script = FaultScript(self.options.faults)

    def app(self) -> web.Application:
        """Build the web application that serves this model."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_word_refusals])
        app.add_routes(
            [
                web.get("/v1/models", self._list_models),
                web.post("/v1/chat/completions", self._complete_chat),
                web.post("/v1/embeddings", self._embed),
                web.get("/sim/ledger", self._show_ledger),
                web.post("/sim/reset", self._reset),
                web.post("/sim/faults", self._set_faults),
            ]
        )
        return app

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        with self._counting_refusal("", request.path):
            self._check_key(request)
            wishes = read_wishes("", request.headers)
        return await self._reply(request, "", wishes, ModelsQuestion())

    async def _complete_chat(self, request: web.Request) -> web.StreamResponse:
        read = partial(ChatQuestion.read, values=self.options.values)
        return await self._take_question(request, read)

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        return await self._take_question(request, EmbeddingQuestion.read)

    async def _show_ledger(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        return _respond(self._ledger.as_json())

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        self.reset()
        return _respond({"simulated": True})

    async def _set_faults(self, request: web.Request) -> web.StreamResponse:
        self._check_key(request)
        rules = read_body(await request.read())
        try:
            self.set_faults(*map(FaultRule.from_json, rules if isinstance(rules, list) else [rules]))
        except BadSetting as error:
            raise BadCall(str(error), param="fault") from None
        return _respond({"simulated": True})

    async def _take_question(self, request: web.Request, read: ReadQuestion) -> web.StreamResponse:
        raw = await request.read()
        with self._counting_refusal("", request.path):
            self._check_key(request)
            body = read_body(raw)
            model, behind_model = read_model(body)
        with self._counting_refusal(model, request.path):
            wishes = read_wishes(behind_model, request.headers)
            question = read(body, model, self.options.seed)
        return await self._reply(request, model, wishes, question)

    async def _reply(
        self, request: web.Request, model: str, wishes: Wishes, question: SimulatedQuestion
    ) -> web.StreamResponse:
        """Count the call, take as long as it should, then answer or fail."""
        row = self._ledger.row(model, request.path)
        row.calls += 1
        fault = wishes.fault or self._script.take(model, request.path)
        latency = self.options.latency if wishes.latency is None else wishes.latency
        try:
            if latency:
                await asyncio.sleep(latency.total_seconds())
        except asyncio.CancelledError:
            row.outcomes["client left"] += 1
            raise
        row.outcomes[fault.name if fault else "answered"] += 1
        if fault and fault.name in STATUS_FAULTS:
            return _fail(fault)
        if fault and fault.name in ("hang", "reset"):
            if fault.name == "reset":
                _reset_connection(request)
            # Until the connection is lost, which cancels this.
            await asyncio.get_running_loop().create_future()
        answer = question.answer(fault)
        if answer.usage:
            row.charge(answer.usage)
        return await _send(request, answer, fault)

    @contextmanager
    def _counting_refusal(self, model: str, path: str) -> Iterator[None]:
        try:
            yield
        except BadCall as error:
            row = self._ledger.row(model, path)
            row.calls += 1
            row.outcomes[str(error.status)] += 1
            raise

    def _check_key(self, request: web.Request) -> None:
        if self.options.api_key is None:
            return
        shown = request.headers.get("authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(shown, f"Bearer {self.options.api_key}".encode()):
            message = "the API key is missing or wrong: send the one this simulated model was started with"
            raise BadCall(message, status=401, code="invalid_api_key")


@asynccontextmanager
async def simulated_model(options: SimulatedModelOptions | None = None) -> AsyncIterator[SimulatedModel]:
    """Serve a simulated model inside the block."""
    model = SimulatedModel(options or SimulatedModelOptions())
    # A caller who is still being kept waiting when the server stops is dropped, not waited for.
    runner = web.AppRunner(model.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.01)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, model.options.host, model.options.port, backlog=BACKLOG).start()
        except OSError as error:
            where = f"{model.options.host}:{model.options.port}"
            raise BadSetting(f"cannot listen on {where} ({error}): use port 0 for any free one") from error
        model.port = runner.addresses[0][1]
        yield model
    finally:
        await runner.cleanup()


async def serve(options: SimulatedModelOptions, ready: Callable[[SimulatedModel], object]) -> None:
    """Serve until cancelled; ``ready`` is called once callers can connect."""
    async with simulated_model(options) as model:
        ready(model)
        await asyncio.get_running_loop().create_future()


@web.middleware
async def _word_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every refusal the shape that OpenAI's clients read."""
    try:
        return await handler(request)
    except BadCall as error:
        return _respond_error(error)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}"
        return _respond_error(BadCall(message, status=error.status))


def _respond(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = HEADERS
) -> web.Response:
    text = json.dumps(body).encode()
    return web.Response(body=text, status=status, headers=headers, content_type="application/json")


def _respond_error(error: BadCall, headers: Mapping[str, str] = HEADERS) -> web.Response:
    told = {"message": str(error), "type": error.kind, "param": error.param, "code": error.code}
    return _respond({"error": told, "simulated": True}, error.status, headers)


def _fail(fault: Fault) -> web.Response:
    kind, code, message = STATUS_FAULTS[fault.name]
    error = BadCall(f"{LABEL} {message}", status=int(fault.name), kind=kind, code=code)
    return _respond_error(error, HEADERS | {name: str(value) for name, value in fault.settings.items()})


def _reset_connection(request: web.Request) -> None:
    if (transport := request.transport) is not None:
        # Lingering for no time makes the close a reset instead of an orderly end.
        at_once = struct.pack("ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        transport.abort()


async def _send(request: web.Request, answer: SimulatedAnswer, fault: Fault | None) -> web.StreamResponse:
    match fault:
        case Fault("wrong-body"):
            return _respond({"simulated": True, "unexpected": "not the body that was asked for"})
        case Fault("drip", {"interval-ms": pause}):
            return await _stream(request, answer, one_byte_every=timedelta(milliseconds=pause))
        case Fault("huge"):
            return await _stream(request, answer)
    body = b"".join(answer.parts)
    if fault and fault.name == "truncated":
        body = body[: len(body) // 2]
    return web.Response(body=body, headers=HEADERS, content_type=answer.content_type)


async def _stream(
    request: web.Request, answer: SimulatedAnswer, *, one_byte_every: timedelta | None = None
) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    response.content_type = answer.content_type
    await response.prepare(request)
    for part in answer.parts:
        if one_byte_every is None:
            await response.write(part)
            continue
        for at in range(len(part)):
            await response.write(part[at : at + 1])
            await asyncio.sleep(one_byte_every.total_seconds())
    await response.write_eof()
    return response
