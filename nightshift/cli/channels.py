"""Channels: ``channels``, one channel, and what people set for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.base.words import clock, when
from nightshift.cli.answers import Json, ask, note, show_facts, show_json, show_table, who

if TYPE_CHECKING:
    from nightshift.channels.channel import Channel
    from nightshift.deployment import Deployment

LIMIT = 20

channels = typer.Typer(invoke_without_command=True)
Ref = Annotated[
    str, typer.Argument(metavar="PLATFORM:ID", help="A channel that `nightshift channels` lists.")
]


@channels.callback()
def list_channels(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = LIMIT,
    json: Json = False,
) -> None:
    """List channels, the most recently used first."""
    if context.invoked_subcommand:
        return
    page = ask(lambda here: here.channels.store.page(limit=limit))
    if json:
        show_json([show_channel(channel) for channel in page.rows])
        return
    if not page.rows:
        note("No channel is known yet; a bot tells of them by `observe`, a platform once it is connected.")
        return
    now = datetime.now(UTC)
    show_table(("channel", "name", "server", "last message", "agent", ""), [_row(c, now) for c in page.rows])
    if page.next:
        note(f"There are more; --limit {limit * 5} shows them.")


def show_channel(channel: Channel) -> dict[str, Any]:
    """A channel as programs see it."""
    from nightshift.channels.audience import audience_of

    return {
        "channel": str(channel.ref),
        "platform": channel.ref.platform,
        "id": channel.ref.id,
        "name": channel.name,
        "server_id": channel.server_id,
        "server_name": channel.server_name,
        "is_dm": channel.is_dm,
        "members": channel.members,
        "tenant": channel.tenant,
        "agent": channel.agent,
        "audience": audience_of(channel),
        "paused_by": channel.paused_by,
        "quiet_hours": channel.quiet_hours,
        "last_message_at": channel.last_message_at,
        "last_human_at": channel.last_human_at,
    }


def _row(channel: Channel, now: datetime) -> tuple[str, ...]:
    last = when(channel.last_message_at, now) if channel.last_message_at else ""
    paused = f"paused by {channel.paused_by}" if channel.paused_by else ""
    return str(channel.ref), channel.name, channel.server_name, last, channel.agent, paused


@channels.command()
def show(ref: Ref, json: Json = False) -> None:
    """Show what is known and set of one channel."""
    channel, count = ask(lambda here: _show(here, ref))
    if json:
        show_json(show_channel(channel) | {"messages": count})
        return
    from nightshift.channels.audience import audience_of

    facts = {
        "channel": str(channel.ref),
        "name": channel.name,
        "server": channel.server_name or channel.server_id,
        "kind": "a conversation between two" if channel.is_dm else "",
        "members": "" if channel.members is None else str(channel.members),
        "tenant": channel.tenant,
        "agent": channel.agent,
        "audience": audience_of(channel),
        "quiet hours": channel.quiet_hours or "as its agent's",
        "paused": f"by {channel.paused_by}" if channel.paused_by else "",
        "messages": str(count),
        "last message": clock(channel.last_message_at) if channel.last_message_at else "",
        "last person": clock(channel.last_human_at) if channel.last_human_at else "",
    }
    show_facts({name: value for name, value in facts.items() if value})


async def _show(here: Deployment, ref: str) -> tuple[Channel, int]:
    from nightshift.base.refs import ChannelRef

    channel = await here.channels.store.get(ChannelRef.parse(ref))
    return channel, await here.memory.messages.count(channel.ref)


@channels.command()
def pause(ref: Ref) -> None:
    """Let no heartbeat come to a channel until it is resumed; messages are remembered all the same."""
    ask(lambda here: _pause(here, ref))
    typer.echo(f"{ref} is paused; `nightshift channels resume {ref}` ends it")


async def _pause(here: Deployment, ref: str) -> None:
    from nightshift.base.refs import ChannelRef

    await here.channels.store.pause(ChannelRef.parse(ref), by=who())


@channels.command()
def resume(ref: Ref) -> None:
    """Let heartbeats come to a paused channel again."""
    ask(lambda here: _resume(here, ref))
    typer.echo(f"{ref} is no longer paused")


async def _resume(here: Deployment, ref: str) -> None:
    from nightshift.base.refs import ChannelRef

    await here.channels.store.resume(ChannelRef.parse(ref), by=who())


@channels.command("set")
def set_channel(
    ref: Ref,
    audience: Annotated[
        str | None,
        typer.Option(
            metavar="WHO",
            help="Who else may come to know what is said there: channel (nobody), server or everyone.",
        ),
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option(
            metavar="HOURS", help="22:00-08:00 in the agent's zone, never, or '' for the agent's own."
        ),
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="The agent that it belongs to.")] = None,
) -> None:
    """Set who may come to know what is said in a channel, its quiet hours, or its agent."""
    channel = ask(lambda here: _set(here, ref, audience, quiet, agent))
    typer.echo(f"{channel.ref} is changed")


async def _set(
    here: Deployment, ref: str, audience: str | None, quiet: str | None, agent: str | None
) -> Channel:
    from nightshift.base.refs import ChannelRef
    from nightshift.channels.by_hand import change_channel

    return await change_channel(
        here.channels.store,
        here.agents.of,
        ChannelRef.parse(ref),
        by=who(),
        audience=audience,
        quiet_hours=quiet,
        agent=agent,
    )
