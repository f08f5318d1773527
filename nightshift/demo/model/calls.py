"""
What a request asks of the simulated model, or why it is refused.

A client that cannot set headers writes its wishes behind the model's name:
``flash-simulated?latency_ms=200&fault=429&retry_after=7``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from nightshift.base.errors import BadSetting, PermanentError
from nightshift.demo.model.faults import DIGITS, Fault

FAULT_HEADER = "x-sim-fault"
LATENCY_HEADER = "x-sim-latency-ms"

WORDS: Mapping[type, str] = {
    bool: "a boolean",
    dict: "an object",
    int: "a whole number",
    list: "a list",
    str: "a text",
}


class BadCall(PermanentError):
    """The request is answered with an error, worded as OpenAI words it."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.kind = kind
        self.code = code


@dataclass(frozen=True)
class Wishes:
    """How the sender of a request wants it treated."""

    fault: Fault | None = None
    latency: timedelta | None = None


def read_body(raw: bytes) -> Any:
    """Decode what was posted."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadCall(f"the body is not JSON: {error}") from None


def read_model(body: Any) -> tuple[str, str]:
    """Split the model's name from the wishes behind it."""
    if not isinstance(body, dict):
        raise BadCall("the body is not a JSON object: send one")
    name, _, wishes = take(body, "model", str, "").partition("?")
    if not name:
        raise BadCall("model is missing: name any, for example flash-simulated", param="model")
    return name, wishes


def read_wishes(behind_model: str, headers: Mapping[str, str]) -> Wishes:
    """Read the wishes from both places; a header wins."""
    try:
        words = dict(parse_qsl(behind_model, keep_blank_values=True, strict_parsing=bool(behind_model)))
        latency = words.pop("latency_ms", None)
        fault = Fault.from_words(words.pop("fault"), words.items()) if "fault" in words else None
    except (BadSetting, ValueError) as error:
        raise BadCall(f"cannot read {behind_model!r} behind the model: {error}", param="model") from None
    if fault is None and words:
        message = f"{min(words)!r} behind the model is unknown: use latency_ms, or fault and its settings"
        raise BadCall(message, param="model")
    if FAULT_HEADER in headers:
        try:
            fault = Fault.parse(headers[FAULT_HEADER])
        except BadSetting as error:
            raise BadCall(str(error), param=FAULT_HEADER) from None
    return Wishes(fault, _milliseconds(headers.get(LATENCY_HEADER, latency)))


def take[T](body: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    """Read one parameter, of exactly this type; null counts as left out."""
    value = body.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise BadCall(f"{name}={value!r:.80} has the wrong type: give {WORDS[kind]}", param=name)
    return value


def take_number(body: Mapping[str, Any], name: str, *, at_most: int | None = None) -> int | None:
    """Read a whole number from 1, or None if it is left out."""
    if body.get(name) is None:
        return None
    number = take(body, name, int, 0)
    if number < 1 or (at_most is not None and number > at_most):
        limits = "1 or more" if at_most is None else f"1 to {at_most}"
        raise BadCall(f"{name}={number} is out of range: give {limits}", param=name)
    return number


def _milliseconds(text: str | None) -> timedelta | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        message = f"a latency of {text[:40]!r} ms is not a whole number: give 0 or more"
        raise BadCall(message, param=LATENCY_HEADER)
    return timedelta(milliseconds=int(text))
