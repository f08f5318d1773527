"""The heartbeats of channels: ``channels beat``, ``channels next`` and ``channels rules``."""

from __future__ import annotations

import json as jsons
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import typer

from nightshift.base.errors import BadSetting
from nightshift.base.words import clock, span, when
from nightshift.cli.answers import NO, Json, ask, note, show_facts, show_json
from nightshift.cli.channels import Ref, channels
from nightshift.cli.words import duration

if TYPE_CHECKING:
    from nightshift.deployment import Deployment
    from nightshift.heartbeats.rules import HeartbeatRules
    from nightshift.heartbeats.visiting import Visited
    from nightshift.status.why import Why

#: With the commands of both files.
__all__ = ["channels"]


@channels.command("beat")
def visit(ref: Ref, json: Json = False) -> None:
    """
    Visit a channel now: a model looks into it and says whether its agent should speak up.

    Prints the id of the run. Quiet hours and an unchanged channel do not matter; a freeze, a budget and looks
    that were started just before do.
    """
    visited = ask(lambda here: _visit(here, ref))
    refused = visited.verdict.gate or (None if visited.recorded == "recorded" else visited.recorded)
    if json:
        show_json(
            {"run": visited.run, "refused": refused, "value": visited.verdict.value, "next": visited.next}
        )
    elif refused is None:
        typer.echo(visited.run)
    else:
        note(f"No visit: {refused}{': ' if visited.verdict.value else ''}{visited.verdict.value}")
    if refused:
        raise typer.Exit(NO)


async def _visit(here: Deployment, ref: str) -> Visited:
    from nightshift.base.refs import ChannelRef
    from nightshift.heartbeats.by_hand import visit_by_hand

    channel = await here.channels.store.get(ChannelRef.parse(ref))
    heartbeats = here.heartbeats
    return await visit_by_hand(heartbeats.visits, heartbeats.rule_book, heartbeats.visiting, channel)


@channels.command("next")
def next_visit(ref: Ref, json: Json = False) -> None:
    """Say when a channel is visited next, or why it is not."""
    why = ask(lambda here: why_channel_of(here, ref))
    if json:
        reason = None if why.next else why.says[0]
        show_json({"channel": ref, "next": why.next, "reason": reason, "says": why.says})
    else:
        typer.echo(f"{clock(why.next)}, {when(why.next, datetime.now(UTC))}" if why.next else why.says[0])


async def why_channel_of(here: Deployment, ref: str) -> Why:
    from nightshift.base.refs import ChannelRef

    return await here.status.why_channel(ChannelRef.parse(ref))


@channels.command("rules")
def show_rules(
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Change a rule; may be given again. 15m, 2h, 3, 0.1"
        ),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="NAME", help="Let what the settings say apply again."),
    ] = None,
    json: Json = False,
) -> None:
    """Show when channels are visited and what keeps them from it, or change it; the next visit heeds it."""
    rules = ask(lambda here: _rules(here, _changes(change or []), unset or []))
    if json:
        show_json(rules.model_dump(mode="json"))
        return
    fields = type(rules).model_fields
    show_facts({name: f"{_word(value):<30}  {fields[name].description}" for name, value in rules})


def _changes(words: list[str]) -> dict[str, Any]:
    from nightshift.heartbeats.rules import HeartbeatRules

    changes: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadSetting(f"{word!r} changes no rule; write NAME=VALUE, such as interval=15m")
        field = HeartbeatRules.model_fields.get(name)
        kind = field.annotation if field else None
        if kind is timedelta:
            changes[name] = duration(value)
        elif get_origin(kind) is tuple:
            changes[name] = [duration(each) for each in value.split(",")]
        else:
            changes[name] = value
    return changes


async def _rules(here: Deployment, changes: dict[str, Any], unset: list[str]) -> HeartbeatRules:
    book = here.heartbeats.rule_book
    for name in unset:
        await book.unset(name)
    return await book.set(changes) if changes else await book.read()


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_word(each) for each in value)
    return span(value) if isinstance(value, timedelta) else jsons.dumps(value)
