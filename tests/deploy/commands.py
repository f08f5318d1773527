"""Whether the command line knows a command."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from typer.main import get_command

from nightshift.cli.app import app
from workers.roles import BY_NAME


def refusal(words: Sequence[str]) -> str | None:
    """Why ``nightshift WORDS`` would be refused, found out without running it; None if it would not."""
    name, *rest = words
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group has them
    if name not in commands:
        return f"there is no command {name}"
    try:
        context = commands[name].make_context(name, rest)
    except (typer.Exit, Exception) as error:
        return str(error)
    role = context.params.get("role", "all")
    return None if role in BY_NAME else f"there is no role {role}"
