"""
The channels in Redis: what is known of each, and which were used most recently.

A channel is there once something was said in it, or once its platform told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time

from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.base.errors import BadSetting, UnknownChannel
from nightshift.base.refs import ChannelRef
from nightshift.base.words import fit_name
from nightshift.channels.audience import chosen_audience
from nightshift.channels.channel import NEVER, Channel, SeenChannel
from nightshift.store.client import text_hash, text_list
from nightshift.store.events import publish_event
from nightshift.store.keys import Keys
from nightshift.store.pages import Page, Place, read_page, walk
from nightshift.store.scripts import Scripts


class Channels:
    """The only way to change a channel's row by hand; what is said changes it through ``Messages``."""

    def __init__(self, redis: Redis, keys: Keys, *, clock: Callable[[], datetime] | None = None) -> None:
        self.redis = redis
        self.keys = keys
        self._scripts = Scripts("nightshift.channels", ("change",), redis, keys, clock=clock)

    # Reading

    async def find(self, ref: ChannelRef) -> Channel | None:
        row = await text_hash(self.redis, self.keys.channel(ref))
        return Channel.from_hash(row) if row else None

    async def get(self, ref: ChannelRef) -> Channel:
        channel = await self.find(ref)
        if channel is None:
            raise _unknown(ref)
        return channel

    async def rows(self, refs: Sequence[ChannelRef]) -> list[Channel]:
        """The channels that are there, in the order asked for."""
        pipeline = self.redis.pipeline(transaction=False)
        for ref in refs:
            pipeline.hgetall(self.keys.channel(ref))
        return [Channel.from_hash(row) for row in await pipeline.execute() if row]

    async def active(self, limit: int) -> list[Channel]:
        """Channels in which something was said, the most recently used first."""
        newest = self.redis.zrange(
            self.keys.channels, "+inf", "(0", desc=True, byscore=True, offset=0, num=limit
        )
        return await self.rows([ChannelRef.parse(ref) for ref in await text_list(newest)])

    async def rank(self, ref: ChannelRef) -> int | None:
        """How many channels were used more recently than this one; nothing if nothing was said in it."""
        asked = self.redis.pipeline(transaction=False)
        asked.zscore(self.keys.channels, str(ref))
        asked.zrevrank(self.keys.channels, str(ref))
        used, rank = await asked.execute()
        return rank if used else None

    async def page(
        self, *, limit: int, after: Place | None = None, tenant: str | None = None
    ) -> Page[Channel, Place]:
        """List channels, the most recently used first."""

        async def read(refs: Sequence[str]) -> dict[str, Channel]:
            return {str(each.ref): each for each in await self.rows([ChannelRef.parse(ref) for ref in refs])}

        def wanted(channel: Channel) -> bool:
            return tenant in (None, channel.tenant)

        entries = walk(self.redis, [self.keys.channels], after, descending=True)
        return await read_page(entries, read, wanted, limit=limit, after=after)

    # Changing

    async def record_metadata(
        self,
        ref: ChannelRef,
        *,
        name: str = "",
        server_id: str = "",
        server_name: str = "",
        is_dm: bool = False,
        members: int | None = None,
        tenant: str = "default",
        agent: str = "default",
    ) -> bool:
        """
        Note what its platform tells of a channel; tenant and agent only of one that was not known.

        False if it is another tenant's, or was forgotten and nothing has been said there since.
        """
        fields = {
            "name": fit_name(name),
            "server_id": fit_name(server_id),
            "server_name": fit_name(server_name),
            "is_dm": "1" if is_dm else "",
            "members": "" if members is None else str(members),
        }
        answer = await self._scripts.run(
            "change", **_named(ref), tenant=tenant, agent=agent, create=True, fields=fields
        )
        return bool(answer == "changed")

    async def record_seen(self, seen: SeenChannel, *, tenant: str, agent: str) -> bool:
        """Note what was seen of a channel, as ``record_metadata`` does."""
        return await self.record_metadata(**vars(seen), tenant=tenant, agent=agent)

    async def set(
        self,
        ref: ChannelRef,
        *,
        by: str,
        audience: str | None = None,
        quiet_hours: str | None = None,
        agent: Agent | None = None,
    ) -> Channel:
        """Set what a person may choose for a channel; what is left out stays as it is."""
        channel = await self.get(ref)
        fields: dict[str, str] = {}
        if audience is not None:
            fields["audience"] = chosen_audience(audience, channel)
        if quiet_hours is not None:
            fields["quiet_hours"] = _quiet_hours(quiet_hours)
        if agent is not None:
            fields["agent"] = _agent(agent, channel)
        await self._set(ref, fields)
        await self._tell("channel_changed", ref, by, preview=", ".join(sorted(fields)))
        return await self.get(ref)

    async def pause(self, ref: ChannelRef, *, by: str) -> None:
        """Let no heartbeat come here until it is resumed; messages are remembered all the same."""
        await self._set(ref, {"paused_by": by})
        await self._tell("channel_paused", ref, by)

    async def resume(self, ref: ChannelRef, *, by: str) -> None:
        await self._set(ref, {"paused_by": ""})
        await self._tell("channel_resumed", ref, by)

    async def _set(self, ref: ChannelRef, fields: dict[str, str]) -> None:
        if await self._scripts.run("change", **_named(ref), create=False, fields=fields) != "changed":
            raise _unknown(ref)

    async def _tell(self, type: str, ref: ChannelRef, by: str, *, preview: str = "") -> None:
        channel = await self.get(ref)
        facts = {"by": by, "tenant": channel.tenant, "agent": channel.agent}
        await publish_event(self.redis, self.keys, type, f"channel:{ref}", preview=preview, facts=facts)


def _named(ref: ChannelRef) -> dict[str, str]:
    return {"ref": str(ref), "platform": ref.platform, "id": ref.id}


def _quiet_hours(text: str) -> str:
    """Read ``22:00-08:00``, ``never``, or nothing for the agent's own."""
    if text in ("", NEVER):
        return text
    try:
        start, end = map(time.fromisoformat, text.split("-"))
    except ValueError:
        raise BadSetting(
            f"{text!r} are no quiet hours; write 22:00-08:00, {NEVER!r}, or nothing for the agent's own"
        ) from None
    return f"{start:%H:%M}-{end:%H:%M}"


def _agent(agent: Agent, channel: Channel) -> str:
    if agent.tenant != channel.tenant:
        raise BadSetting(
            f"agent {agent.name!r} is of tenant {agent.tenant!r}, and {channel.ref} is {channel.tenant!r}'s"
        )
    return agent.name


def _unknown(ref: ChannelRef) -> UnknownChannel:
    return UnknownChannel(
        f"no channel is called {str(ref)!r}; `nightshift channels` lists those that are known"
    )
