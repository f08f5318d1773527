"""What people set for a channel."""

from __future__ import annotations

from collections.abc import Callable

from nightshift.agents.agent import Agent
from nightshift.base.refs import ChannelRef
from nightshift.channels.channel import Channel
from nightshift.channels.channels import Channels


async def change_channel(
    channels: Channels,
    agent_of: Callable[[str], Agent],
    ref: ChannelRef,
    *,
    by: str,
    audience: str | None = None,
    quiet_hours: str | None = None,
    agent: str | None = None,
) -> Channel:
    """Set who may come to know what is said there, its quiet hours or its agent; what is None stays."""
    named = agent_of(agent) if agent else None
    return await channels.set(ref, by=by, audience=audience, quiet_hours=quiet_hours, agent=named)
