"""
Prompts as versioned text files beside the module that owns them, and what is said to a model in one call.

A prompt's own words are the system's. Whatever comes from people, pages or models is inserted as data: JSON
in a message of the user's, where none of its characters can end the block that it stands in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from nightshift.base.errors import NotPossible

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class PromptMessage:
    """One turn of what a model is told; its text can always be sent."""

    role: Role
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", whole_text(self.text))


@dataclass(frozen=True)
class Prompt:
    """Instructions to a model, and which version of them, such as ``think.v2``."""

    text: str
    version: str

    def about(self, **data: Any) -> tuple[PromptMessage, PromptMessage]:
        """What to send: the instructions, then each value under its name as data."""
        blocks = (f"{name}:\n```json\n{_as_data(value)}\n```" for name, value in data.items())
        return PromptMessage("system", self.text), PromptMessage("user", "\n\n".join(blocks))


@cache
def load(package: str, name: str) -> Prompt:
    """Read the highest version of a prompt: the file ``NAME.vN.md`` in this package."""
    versions = {
        int(found[1]): file
        for file in files(package).iterdir()
        if (found := re.fullmatch(rf"{re.escape(name)}\.v(\d+)\.md", file.name))
    }
    if not versions:
        raise NotPossible(f"package {package} has no prompt {name!r}; put it in a file {name}.v1.md")
    latest = max(versions)
    return Prompt(versions[latest].read_text("utf-8").strip(), f"{name}.v{latest}")


def whole_text(text: str) -> str:
    """The text with lone surrogates, which no encoding can carry, replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _as_data(value: Any) -> str:
    # On one line and without a backtick, so that nothing in it closes the fence.
    return json.dumps(value, ensure_ascii=False, default=str).replace("`", "\\u0060")
