"""What is sent to an endpoint: a question, and the most that its answer can cost. Never any tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from nightshift.llm.prices import UNKNOWN
from nightshift.llm.prompts import PromptMessage
from nightshift.llm.structured import LOOSE_FORMAT, shape_in_words, strict_format
from nightshift.llm.uses import NamedModel


@dataclass(frozen=True)
class Request:
    """What is sent where, and the most that it can cost in micro-USD."""

    model: NamedModel
    path: str
    body: Mapping[str, Any]
    ceiling: int


@dataclass(frozen=True)
class Question:
    """Turns of a talk that a model shall continue, by at most so many tokens."""

    messages: tuple[PromptMessage, ...]
    max_tokens: int
    temperature: float | None = None
    response_format: Mapping[str, Any] | None = None

    def strictly(self, schema: type[BaseModel]) -> Question:
        """The question with its schema left to the endpoint."""
        return replace(self, response_format=strict_format(schema))

    def loosely(self, schema: type[BaseModel]) -> Question:
        """The question with its schema told in words."""
        return replace(self, messages=(*self.messages, shape_in_words(schema)), response_format=LOOSE_FORMAT)

    def followed_by(self, messages: Sequence[PromptMessage]) -> Question:
        """The talk, continued."""
        return replace(self, messages=(*self.messages, *messages))

    def request(self, model: NamedModel, *, stream: bool = False) -> Request:
        """What this model's endpoint is sent."""
        said = json.dumps([self._turns, self.response_format], ensure_ascii=False).encode()
        # No token is shorter than a byte.
        ceiling = (model.price or UNKNOWN).cost(len(said), self.max_tokens)
        return Request(model, "/chat/completions", self._body(model, stream=stream), ceiling)

    def _body(self, model: NamedModel, *, stream: bool) -> dict[str, Any]:
        # OpenAI's newest models know only the one name, most others only the other.
        limit = "max_completion_tokens" if model.kind == "openai" else "max_tokens"
        body: dict[str, Any] = {"model": model.name, "messages": self._turns, limit: self.max_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if self.response_format:
            body["response_format"] = self.response_format
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if model.kind == "openrouter":
            # Only who honours what is asked may answer, and says what it cost.
            body |= {"provider": {"require_parameters": True}, "usage": {"include": True}}
        return body

    @cached_property
    def _turns(self) -> list[dict[str, str]]:
        return [{"role": message.role, "content": message.text} for message in self.messages]


def embedding_request(model: NamedModel, texts: Sequence[str]) -> Request:
    """What this model's endpoint is sent to have these texts' vectors."""
    ceiling = (model.price or UNKNOWN).cost(sum(len(text.encode()) for text in texts), 0)
    body = {"model": model.name, "input": texts, "encoding_format": "float"}
    return Request(model, "/embeddings", body, ceiling)
