"""
What a model answered, read out of a body that may hold anything.

Numbers are what the endpoint says of itself, so none of them is believed beyond what it can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import float_info
from typing import Any, TypeGuard

from nightshift.base.errors import BadAnswer, Overloaded, RefusedByModel, Truncated
from nightshift.base.words import MILLION

#: What is told of a refusal, or of a model's name, is cut to this.
LONGEST_WORDS = 300
MOST_TOKENS = 100_000_000
MOST_DOLLARS = 10_000


@dataclass(frozen=True)
class Usage:
    """What an endpoint says that a call took."""

    tokens_in: int
    tokens_out: int
    tokens_cached: int
    #: In micro-USD, if it says so.
    cost: int | None


@dataclass(frozen=True)
class ModelReply:
    """One turn of the model's."""

    text: str
    model: str
    finish: str
    refusal: str


@dataclass(frozen=True)
class Answer[T]:
    """What was asked for, and what it took, all tries together."""

    value: T
    model: str
    tokens_in: int
    tokens_out: int
    #: In micro-USD.
    cost: int
    finish: str
    #: The endpoint did not say what it cost and nobody knows the price: the most it can have been is counted.
    estimated: bool


def read_reply(body: object, asked: str) -> tuple[ModelReply, Usage | None]:
    """Find the answer in a completion's body; raises Overloaded if there is none."""
    told = _mapping(body)
    choice = _mapping(_first(told.get("choices")))
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise Overloaded(f"{asked} answered with something that is no completion")
    reply = ModelReply(
        _text_of(message.get("content")),
        _words(told.get("model")),
        _words(choice.get("finish_reason")),
        _words(message.get("refusal")),
    )
    return reply, read_usage(told.get("usage"))


class Pieces:
    """An answer that comes piece by piece, and what is known of it so far."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._model = self._finish = ""
        self.usage: Usage | None = None

    def add(self, chunk: object) -> str:
        """Take in what came; returns the text in it, if any."""
        told = _mapping(chunk)
        choice = _mapping(_first(told.get("choices")))
        delta = _mapping(choice.get("delta"))
        text = _text_of(delta.get("content"))
        self._texts.append(text)
        self._refusals.append(_words(delta.get("refusal")))
        self._model = _words(told.get("model")) or self._model
        self._finish = _words(choice.get("finish_reason")) or self._finish
        self.usage = read_usage(told.get("usage")) or self.usage
        return text

    def reply(self, asked: str) -> ModelReply:
        """All of it; raises Overloaded if the end is missing."""
        if not self._finish:
            raise Overloaded(f"{asked} broke off in the middle of its answer")
        refusal = "".join(self._refusals)[:LONGEST_WORDS]
        return ModelReply("".join(self._texts), self._model, self._finish, refusal)


def read_usage(value: object) -> Usage | None:
    """What the endpoint says of tokens and cost; nothing if it says nothing that can be."""
    told = _mapping(value)
    tokens_in, tokens_out = _count(told.get("prompt_tokens")), _count(told.get("completion_tokens", 0))
    if tokens_in is None or tokens_out is None:
        return None
    # Some count what a model thought only into the total.
    tokens_out = max(tokens_out, (_count(told.get("total_tokens")) or 0) - tokens_in)
    cached = _count(_mapping(told.get("prompt_tokens_details")).get("cached_tokens")) or 0
    return Usage(tokens_in, tokens_out, cached, _cost_in(told))


def read_vectors(body: object, count: int, asked: str) -> tuple[list[list[float]], Usage | None]:
    """The vectors in the order of their texts; raises BadAnswer unless there is a sound one for each."""
    entries = _mapping(body).get("data")
    found: dict[int, list[float]] = {}
    for at, entry in enumerate(entries if isinstance(entries, list) else ()):
        vector = _mapping(entry).get("embedding")
        if isinstance(vector, list) and vector and all(_is_number(value) for value in vector):
            index = _count(_mapping(entry).get("index"))
            found[at if index is None else index] = [float(value) for value in vector]
    if set(found) != set(range(count)) or len({len(vector) for vector in found.values()}) > 1:
        raise BadAnswer(f"{asked} gave {len(found)} sound vectors for {count} texts")
    return [found[at] for at in range(count)], read_usage(_mapping(body).get("usage"))


def refuse_unfinished(reply: ModelReply, asked: str) -> None:
    """Raise what keeps a reply from being an answer."""
    if reply.refusal or reply.finish == "content_filter":
        raise RefusedByModel(
            f"{asked} will not answer this: {reply.refusal or 'stopped by its content filter'}"
        )
    if reply.finish == "length":
        raise Truncated(
            f"{asked} was cut off at its limit of tokens; ask for less, or allow max_output_tokens"
        )


def _cost_in(told: Mapping[str, Any]) -> int | None:
    parts = [told.get("cost")]
    if told.get("is_byok") is True:
        # That is OpenRouter's own part; the rest is paid to the provider whose key it was given.
        parts.append(_mapping(told.get("cost_details")).get("upstream_inference_cost"))
    sound = [part for part in parts if _is_number(part) and 0 <= part <= MOST_DOLLARS]
    if len(sound) < len(parts):
        return None
    # Rounded up, but not for what a fraction of a dollar loses in binary.
    return math.ceil(round(sum(sound) * MILLION, 3))


def _text_of(content: object) -> str:
    if isinstance(content, list):  # some endpoints answer in parts
        return "".join(str(_mapping(part).get("text") or "") for part in content)
    return content if isinstance(content, str) else ""


def _words(value: object) -> str:
    return value[:LONGEST_WORDS] if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(value: object) -> object:
    return value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
        return value
    return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max
