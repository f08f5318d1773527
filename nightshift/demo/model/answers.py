"""
What the simulated model says, as a function of the question and the seed alone.

An answer is a series of byte blocks, so that a huge one is never held in memory.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_256
from itertools import chain
from typing import Any, Protocol

from nightshift.demo.model.calls import BadCall, take, take_number
from nightshift.demo.model.faults import Fault
from nightshift.demo.model.instances import NoInstance, instance_text
from nightshift.demo.model.ledger import MICRO_USD, SimulatedUsage
from nightshift.llm.prices import SIMULATED

LABEL = "[simulated]"
TOKEN = 4
ROLES = ("assistant", "developer", "function", "system", "tool", "user")
EXCERPT = 80
BLOCK = 64 * 1024
DIMENSIONS = 256
MOST_DIMENSIONS = 4096
MOST_INPUTS = 2048
#: Stands for the text in a body that is written before its text.
GAP = "\x00"


@dataclass(frozen=True)
class SimulatedAnswer:
    """A successful response; nothing is charged for one without usage."""

    parts: Iterable[bytes]
    usage: SimulatedUsage | None = None
    content_type: str = "application/json"


class SimulatedQuestion(Protocol):
    """A request that was understood."""

    def answer(self, fault: Fault | None) -> SimulatedAnswer:
        """Answer it, well or as badly as the fault says."""


@dataclass(frozen=True)
class ChatQuestion:
    """A request for a chat completion, with the answer already known."""

    model: str
    digest: str
    text: str
    prompt_tokens: int
    most_tokens: int | None
    streamed: bool
    usage_streamed: bool

    @classmethod
    def read(
        cls,
        body: Mapping[str, Any],
        model: str,
        seed: int,
        *,
        values: Mapping[str, Sequence[Any]] | None = None,
    ) -> ChatQuestion:
        """Check the request and work out its answer."""
        messages = _read_messages(body)
        asked = json.dumps(messages, sort_keys=True, ensure_ascii=False).encode(errors="surrogatepass")
        digest = sha256(f"{model}\n{take(body, 'seed', int, seed)}\n".encode(errors="surrogatepass") + asked)
        if take_number(body, "n") not in (None, 1):
            raise BadCall("n is not simulated: ask once for each answer", param="n")
        options = take(body, "stream_options", dict, {})
        streamed = take(body, "stream", bool, False)
        if options and not streamed:
            raise BadCall("stream_options has no meaning without stream: true", param="stream_options")
        structured = _read_structure(body)
        if structured and values:
            structured = _with_values(structured, values, int(digest.hexdigest(), 16))
        excerpt = " ".join(_text_of(messages[-1])[: EXCERPT * 2].split())[:EXCERPT]
        return cls(
            model=model,
            digest=digest.hexdigest()[:12],
            text=structured or f"{LABEL} answer {digest.hexdigest()[:12]} to: {excerpt}",
            prompt_tokens=_count_tokens(len(asked)),
            most_tokens=take_number(body, "max_completion_tokens") or take_number(body, "max_tokens"),
            streamed=streamed,
            usage_streamed=take(options, "include_usage", bool, False),
        )

    def answer(self, fault: Fault | None) -> SimulatedAnswer:
        """Answer in one piece or as a stream."""
        text = self.text
        if fault and fault.name == "wrong-json":
            wrong = "simulated: not what was asked for"
            text = json.dumps({"simulated": wrong} if text.startswith("[") else [wrong])
        tokens = _split_tokens(text)
        finish = "stop"
        if self.most_tokens is not None and len(tokens) > self.most_tokens:
            tokens, finish = tokens[: self.most_tokens], "length"
        filler_size = fault.settings["bytes"] if fault and fault.name == "huge" else 0
        usage = SimulatedUsage(self.model, self.prompt_tokens, len(tokens) + _count_tokens(filler_size))
        if self.streamed:
            return SimulatedAnswer(
                self._stream(tokens, filler_size, finish, usage), usage, "text/event-stream"
            )
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(tokens) + GAP, "refusal": None},
            "logprobs": None,
            "finish_reason": finish,
        }
        body = self._frame("chat.completion") | {"choices": [choice], "usage": usage.as_json()}
        # The last gap is ours: what a caller can write into the answer all comes before it.
        before, _, after = json.dumps(body).rpartition(json.dumps(GAP)[1:-1])
        return SimulatedAnswer(
            chain([before.encode()], fill(b" simulated", filler_size), [after.encode()]), usage
        )

    def _stream(
        self, tokens: list[str], filler_size: int, finish: str, usage: SimulatedUsage
    ) -> Iterator[bytes]:
        frame = self._frame("chat.completion.chunk") | ({"usage": None} if self.usage_streamed else {})

        def event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            return _event(frame | {"choices": [choice]})

        yield event({"role": "assistant", "content": ""})
        for token in tokens:
            yield event({"content": token})
        for block in fill(b" simulated", filler_size):
            yield event({"content": block.decode()})
        yield event({}, finish)
        if self.usage_streamed:
            yield _event(frame | {"choices": [], "usage": usage.as_json()})
        yield b"data: [DONE]\n\n"

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-simulated-{self.digest}",
            "object": kind,
            # No clock: the same question gets the same bytes.
            "created": 0,
            "model": self.model,
            "system_fingerprint": "simulated",
            "simulated": True,
        }


@dataclass(frozen=True)
class EmbeddingQuestion:
    """A request for one vector per input."""

    model: str
    seed: int
    inputs: list[bytes]
    dimensions: int
    as_base64: bool

    @classmethod
    def read(cls, body: Mapping[str, Any], model: str, seed: int) -> EmbeddingQuestion:
        """Check the request."""
        encoding = take(body, "encoding_format", str, "float")
        if encoding not in ("float", "base64"):
            message = f"encoding_format={encoding!r:.80} is unknown: use float or base64"
            raise BadCall(message, param="encoding_format")
        dimensions = take_number(body, "dimensions", at_most=MOST_DIMENSIONS) or DIMENSIONS
        return cls(model, seed, _read_inputs(body), dimensions, encoding == "base64")

    def answer(self, fault: Fault | None) -> SimulatedAnswer:
        """Give the vectors, or none at all if the JSON is to be wrong."""
        inputs = [] if fault and fault.name == "wrong-json" else self.inputs
        usage = SimulatedUsage(self.model, sum(_count_tokens(len(text)) for text in self.inputs))
        body = {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": self._embed(text)}
                for index, text in enumerate(inputs)
            ],
            "model": self.model,
            "usage": usage.as_json(),
            "simulated": True,
        }
        return _padded(body, fault, usage)

    def _embed(self, text: bytes) -> str | list[float]:
        key = f"{self.model}\n{self.seed}\n".encode(errors="surrogatepass") + text
        drawn = struct.unpack(f"<{self.dimensions}h", shake_256(key).digest(2 * self.dimensions))
        # Odd numbers, so that no vector is all zeros.
        odd = [2 * number + 1 for number in drawn]
        length = math.hypot(*odd)
        packed = struct.pack(f"<{self.dimensions}f", *(number / length for number in odd))
        return (
            b64encode(packed).decode()
            if self.as_base64
            else list(struct.unpack(f"<{self.dimensions}f", packed))
        )


class ModelsQuestion:
    """A request for the list of models."""

    def answer(self, fault: Fault | None) -> SimulatedAnswer:
        """List them with their prices, in dollars as text as OpenRouter does."""
        body = {
            "object": "list",
            "data": [
                {
                    "id": model,
                    "object": "model",
                    "created": 0,
                    "owned_by": "simulated",
                    "pricing": {
                        "prompt": f"{float(price.tokens_in) / MICRO_USD:f}",
                        "completion": f"{float(price.tokens_out) / MICRO_USD:f}",
                    },
                }
                for model, price in SIMULATED.items()
            ],
            "simulated": True,
        }
        return _padded(body, fault)


def fill(pattern: bytes, size: int) -> Iterator[bytes]:
    """Repeat the pattern up to this many bytes, a block at a time."""
    block = pattern * (BLOCK // len(pattern))
    for left in range(size, 0, -len(block)):
        yield block[:left]


def _padded(
    body: Mapping[str, Any], fault: Fault | None, usage: SimulatedUsage | None = None
) -> SimulatedAnswer:
    """Make a body that has no text as large as asked, with the blanks that JSON allows after it."""
    size = fault.settings["bytes"] if fault and fault.name == "huge" else 0
    return SimulatedAnswer(chain([json.dumps(body).encode()], fill(b" ", size)), usage)


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _count_tokens(size: int) -> int:
    return -(-size // TOKEN)


def _split_tokens(text: str) -> list[str]:
    """Cut a text into tokens; the label is one, so that no cut answer goes without it."""
    label = LABEL if text.startswith(LABEL) else ""
    return [label] * bool(label) + [text[at : at + TOKEN] for at in range(len(label), len(text), TOKEN)]


def _read_messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = take(body, "messages", list, [])
    if not messages:
        raise BadCall("messages is missing or empty: give one message or more", param="messages")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            known = ", ".join(ROLES)
            raise BadCall(f"messages[{at}] needs a role: use one of {known}", param=f"messages[{at}].role")
        if not isinstance(message.get("content"), str | list | None):
            what = f"messages[{at}].content"
            raise BadCall(f"{what} is neither a text nor a list of parts: give one of them", param=what)
    return messages


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))


def _read_structure(body: Mapping[str, Any]) -> str | None:
    """Write the JSON that was asked for, or nothing if any text will do."""
    wanted = take(body, "response_format", dict, {"type": "text"})
    match wanted:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return json.dumps({"simulated": "simulated"})
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            try:
                return instance_text(json.dumps(schema))
            except NoInstance as error:
                param = "response_format.json_schema.schema"
                raise BadCall(f"{param}: {error}", param=param) from None
        case {"type": "json_schema"}:
            param = "response_format.json_schema"
            raise BadCall(f"{param} has no schema: give an object with name and schema", param=param)
    message = f"response_format={wanted!r:.80} is unknown: its type is text, json_object or json_schema"
    raise BadCall(message, param="response_format")


def _with_values(structured: str, values: Mapping[str, Sequence[Any]], draw: int) -> str:
    """Put what was set under a name in the place of what was made up."""
    made_up = json.loads(structured)
    if not isinstance(made_up, dict):
        return structured
    drawn = {name: values[name][draw % len(values[name])] for name in made_up.keys() & values.keys()}
    return json.dumps(made_up | drawn)


def _read_inputs(body: Mapping[str, Any]) -> list[bytes]:
    """Take a text, a list of token numbers, or a list of either, as bytes to embed."""
    given = body.get("input")
    inputs = given if isinstance(given, list) and not all(type(item) is int for item in given) else [given]
    if len(inputs) > MOST_INPUTS:
        raise BadCall(f"input has {len(inputs)} items: send {MOST_INPUTS} at most", param="input")
    texts = []
    for item in inputs:
        match item:
            case str() if item:
                texts.append(item.encode(errors="surrogatepass"))
            case [*numbers] if numbers and all(type(number) is int for number in numbers):
                texts.append(json.dumps(numbers).encode())
            case _:
                message = f"input holds {item!r:.80}: give texts or lists of token numbers, none empty"
                raise BadCall(message, param="input")
    return texts
