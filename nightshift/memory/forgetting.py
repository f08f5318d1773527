"""Forgetting what was said, what can be recalled of it, and what was summed up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from urllib.parse import unquote

from redis.asyncio import Redis

from nightshift.base.refs import ChannelRef, UserRef
from nightshift.base.subject import Subject
from nightshift.memory.message import Message, MessageKind, Observed, Place
from nightshift.memory.message_graph import MessageGraph, NamedBy
from nightshift.memory.messages import Messages
from nightshift.memory.summaries import Summaries
from nightshift.store.client import command
from nightshift.store.graph import Graph


class MessageForgetter:
    """What was said, and what is known of the channel."""

    name = "messages"

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        if isinstance(subject.ref, ChannelRef):
            return await self._messages.forget_channel(subject.ref, dry_run=dry_run)
        return await self._messages.forget_user(subject.ref, dry_run=dry_run)


class ReplyForgetter:
    """
    What agents of ours said where the user has spoken, as it may quote the user.

    It is as if they had taken it back, so that no backfill brings it in again. With a channel it goes anyway.
    """

    name = "replies"

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        if isinstance(subject.ref, ChannelRef):
            return 0
        return sum([await self._take_back(ref, subject.ref, dry_run) for ref in subject.channels])

    async def _take_back(self, ref: ChannelRef, user: UserRef, dry_run: bool) -> int:
        channel = await self._messages.channels.find(ref)
        if channel is None:
            return 0
        known = await self._messages.own_users(channel.tenant)
        ours = {each.id for each in known if each.platform == ref.platform} - {user.id}
        gone = 0
        place: Place | None = None
        while page := await self._messages.after(ref, place, self._messages.limits.batch):
            place = page[-1].place
            replies = [each for each in page if _is_of(each, ours)]
            gone += len(replies)
            if not dry_run:
                taken_back = [Observed(MessageKind.DELETED, ref, each.id) for each in replies]
                await self._messages.observe(taken_back, tenant=channel.tenant, agent=channel.agent)
        return gone


def _is_of(message: Message, ours: Collection[str]) -> bool:
    return message.own or message.user_id in ours


class VectorForgetter:
    """
    What the graphs have of messages, whosever graphs they are.

    With a user goes what agents of ours said where the user has spoken, and what bears no name: what we send
    has none until its echo comes.
    """

    name = "recall"

    def __init__(self, graphs: Redis | None, messages: Messages) -> None:
        self._graphs = graphs
        self._messages = messages
        self._prefix = messages.keys.message_graph("")

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        gone = 0
        async for tenant, graph in self._each():
            by: NamedBy = "ref" if isinstance(subject.ref, ChannelRef) else "user"
            if by == "user":
                ours = {"", *map(str, await self._messages.own_users(tenant))} - {str(subject.ref)}
                within = graph.count_within if dry_run else graph.remove_within
                gone += await within([str(ref) for ref in subject.channels], ours)
            act = graph.count_of if dry_run else graph.remove_of
            gone += await act(by, str(subject.ref))
        return gone

    async def channels_of(self, user: UserRef) -> set[ChannelRef]:
        """Where this user has said something that can be recalled."""
        found = [await graph.channels_of(str(user)) async for _, graph in self._each()]
        return {ChannelRef.parse(ref) for refs in found for ref in refs}

    async def forget_before(self, at: datetime) -> int:
        """Forget what was said before this instant; returns how many messages."""
        return sum([await graph.remove_before(at) async for _, graph in self._each()])

    async def _each(self) -> AsyncIterator[tuple[str, MessageGraph]]:
        if self._graphs is None:
            return
        for name in await command(self._graphs, "GRAPH.LIST"):
            if name.startswith(self._prefix):
                yield unquote(name.removeprefix(self._prefix)), MessageGraph(Graph(self._graphs, name))


class SummaryForgetter:
    """
    The summaries of each channel that is forgotten, or in which the user has spoken.

    Nobody can tell whose words are in a summary, so all of them go; what others said is summarised anew.
    """

    name = "summaries"

    def __init__(self, summaries: Summaries) -> None:
        self._summaries = summaries

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        gone = 0
        for ref in subject.channels:
            gone += await self._summaries.count(ref)
            if not dry_run:
                await self._summaries.drop(ref)
        return gone
