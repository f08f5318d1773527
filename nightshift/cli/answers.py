"""Asking the deployment, and showing what it answers to people or to programs."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.base.errors import BadSchedule, BadSetting, NightshiftError, StoreUnreachable, UnsafeStore
from nightshift.base.words import stamp

if TYPE_CHECKING:  # a third of a second, for commands that ask nothing
    from nightshift.deployment import Deployment

#: What exit codes mean.
NO, WRONG_USE, STORE_AWAY = 1, 2, 3
#: A terminal shows at least so much of a table's last column on a line; what is no terminal shows all of it.
LAST_COLUMN, WHOLE_LINES = 20, 100_000

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]


def ask[T](question: Callable[[Deployment], Awaitable[T]]) -> T:
    """Put the question to the deployment that the settings name; it answers within seconds or not at all."""
    from nightshift.deployment import Deployment, process_settings
    from nightshift.store.ground import QUICK

    async def asked() -> T:
        async with Deployment(process_settings(), QUICK) as here:
            return await question(here)

    return run(asked())


def run[T](work: Coroutine[Any, Any, T]) -> T:
    """Do it, and put a Redis error in our own words."""
    from redis.exceptions import RedisError

    from nightshift.store.client import translated

    try:
        return asyncio.run(work)
    except RedisError as error:
        raise translated(error) from error


def exit_code(error: NightshiftError) -> int:
    if isinstance(error, StoreUnreachable):
        return STORE_AWAY
    return WRONG_USE if isinstance(error, BadSetting | BadSchedule | UnsafeStore) else NO


def explain(error: NightshiftError) -> str:
    """What went wrong and what to do about it."""
    if not isinstance(error, StoreUnreachable):
        return str(error)
    from nightshift.deployment import process_settings

    embedded = process_settings().embedded
    remedy = "start it with `nightshift up`" if embedded else "check NIGHTSHIFT_STATE_URL and the server"
    return f"{str(error).rstrip('.')}; {remedy}"


def who() -> str:
    """Who is at this terminal, as rows remember it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number alone
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def note(text: str) -> None:
    """Tell the person something that is no part of the answer."""
    typer.echo(text, err=True)


# Answers


def show_json(answer: Any, *, lines: bool = False) -> None:
    """Print the answer for programs; ``lines`` puts one of many on a line of its own."""
    typer.echo(json.dumps(answer, default=_plain, ensure_ascii=False, indent=None if lines else 2))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return dict(value) if isinstance(value, Mapping) else str(value)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """
    Print rows below their headings; what is not a terminal gets whole lines.

    Any word may be an id, so each stays as it is and whole; the last column holds none and may be folded.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(columns, 1):
        longest = max((cell_len(word) for row in rows for word in row[number - 1].split()), default=0)
        room = longest if number < len(columns) else min(longest, LAST_COLUMN)
        table.add_column(heading, min_width=room, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else WHOLE_LINES
    Console(width=width, highlight=False, markup=False, emoji=False).print(table, crop=False)


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and values, the names aligned."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}".rstrip())
