"""
Answers with a shape: how one is asked for, read, and asked for again.

An endpoint that enforces schemas gets a strict one. One that does not is told the schema in words. Either way
what comes back is validated here, and what does not fit is sent back once with what is wrong with it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from nightshift.llm.prompts import PromptMessage, load

FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
#: How much of a wrong answer goes back, and how many of its faults are named.
LONGEST_ECHO = 8_000
MOST_FAULTS = 5
LONGEST_FAULT = 200


class Misfit(Exception):
    """The answer is not what was asked for; says why in words for the model and for people."""


@cache
def strict_format(schema: type[BaseModel]) -> dict[str, Any]:
    """Have the endpoint enforce the schema."""
    import openai

    # The SDK's own way to make a schema strict; nothing is sent as a tool.
    strict = openai.pydantic_function_tool(schema)["function"]["parameters"]
    named = {"name": schema.__name__, "schema": strict, "strict": True}
    return {"type": "json_schema", "json_schema": named}


#: Have the endpoint answer with JSON of any shape.
LOOSE_FORMAT = {"type": "json_object"}


@cache
def shape_in_words(schema: type[BaseModel]) -> PromptMessage:
    """Tell a model whose endpoint does not enforce it what shape its answer shall have."""
    return PromptMessage(
        "user", f"{load(__package__, 'json_only').text}\n{json.dumps(schema.model_json_schema())}"
    )


def read_value[T: BaseModel](text: str, schema: type[T]) -> T:
    """Read the answer; raises Misfit with what is wrong with it."""
    fenced = FENCE.fullmatch(text)
    try:
        return schema.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        # Where and what, never the value: it is the model's own text.
        faults = [
            f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}" for each in error.errors()
        ]
        raise Misfit("; ".join(fault[:LONGEST_FAULT] for fault in faults[:MOST_FAULTS])) from None


def repair_turn(text: str, misfit: Misfit) -> tuple[PromptMessage, PromptMessage]:
    """Send a wrong answer back with what is wrong with it."""
    return (
        PromptMessage("assistant", text[:LONGEST_ECHO]),
        PromptMessage("user", f"{load(__package__, 'repair').text}\n{misfit}"),
    )
