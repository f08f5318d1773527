"""
Backfill: what was said while nobody listened, read from the platform once for each connection.

A look finds the platforms that have connected since the last one, or to which a bot has. For each it notes
what its channels are called, and records a run for each of them, in two lanes. So two are read at once, and
one that cannot be read, or whose run is cancelled, costs no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from nightshift.agents.agent import Agent
from nightshift.agents.liveness import Bot
from nightshift.base.errors import BadQuery, PlatformDown
from nightshift.base.instants import from_ms, to_ms
from nightshift.base.masking import reason_of
from nightshift.base.refs import ChannelRef, UserRef
from nightshift.channels.channel import Channel, SeenChannel
from nightshift.intake.connections import Connections, Holder, ask_all
from nightshift.memory.embedding_queue import EmbeddingQueue
from nightshift.memory.message import Message, MessageKind, Observed, Origin
from nightshift.memory.message_graph import EmbeddingModel
from nightshift.memory.messages import Messages
from nightshift.platforms.platform import PastMessage, Platform, Server
from nightshift.runs.carry import Run
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunRequest, run_id
from nightshift.runs.states import Outcome, done, failed, skipped

log = structlog.get_logger("nightshift.memory")

TASK = "tasks.backfill.backfill_channel"
#: Channels of one platform, messages of one channel, channels read at once.
CHANNELS, HISTORY, AT_ONCE = 10, 100, 2
#: Messages of one channel that were taken back; with the others they are told at once.
TAKEN_BACK = 400
#: Bots whose platform is not in the settings are none of these: they tell what they see themselves.
NOTHING_NEW = "no platform of [platforms.*] has connected since the last look, nor a bot to one of them"
#: How long platforms are given to become ready when a worker looks for the first time.
PATIENCE = timedelta(seconds=30)
#: Among so many channels in use those of one platform are looked for.
LOOK_AMONG = 500


@dataclass(frozen=True)
class Backfill:
    """Everything that it takes."""

    platforms: Mapping[str, Platform]
    #: Whose the channels are that a platform tells of.
    owner_of: Callable[[str], Agent]
    #: The bots that were heard of lately, on whatever platform.
    bots: Callable[[], Awaitable[Sequence[Bot]]]
    connections: Connections
    messages: Messages
    queue: EmbeddingQueue
    #: What makes the vectors of a tenant now, if anything does.
    model_of: Callable[[str], Awaitable[EmbeddingModel | None]]
    patience: timedelta = PATIENCE

    async def look(self, run: Run, holder: Holder) -> Outcome:
        """Start the backfill of each platform that has connected, or a bot to it, since the last look."""
        # Those that connect while a worker starts are waited for; later the next look finds them.
        first = not await self.connections.has_looked(holder, self.platforms)
        found = await ask_all(self.platforms, patience=self.patience if first else timedelta(0))
        there = [bot for bot in await self.bots() if bot.alive]
        bots = {name: [bot for bot in there if bot.platform == name] for name in found}
        begun: dict[str, int] = dict(run.checkpoint or {})
        for name, readiness in found.items():
            if name not in begun and await self.connections.is_new(name, readiness, holder, bots[name]):
                begun[name] = to_ms(run.started_at)
        if begun:
            # Whoever goes on after us must know what has begun: noting it makes it look old.
            await run.save(begun)
        recorded: dict[str, int] = {}
        for name, readiness in found.items():
            begins = from_ms(begun[name]) if name in begun else None
            await self.connections.note(name, readiness, holder, bots[name], begins=begins)
            if begins:
                recorded[name] = await self._start(run.ledger, self.platforms[name], begins)
        if await self.queue.count():
            await self.queue.wake()
        down = {name: each.why for name, each in found.items() if not each.ready}
        if recorded:
            return done(channels=recorded, down=down)
        return skipped(NOTHING_NEW, down=down)

    async def _start(self, ledger: Ledger, platform: Platform, begins: datetime) -> int:
        """Record a run for each of its channels; returns how many."""
        try:
            listed = read_catalogue(platform, await platform.servers_and_channels())
        except Exception as error:  # whatever a platform that lies makes of its answer
            log.warning("catalogue_not_read", platform=platform.name, why=reason_of(error))
            listed = {}
        active = [
            channel.ref
            for channel in await self.messages.channels.active(LOOK_AMONG)
            if channel.ref.platform == platform.name
        ]
        chosen = (active or list(listed))[:CHANNELS]
        for ref in chosen:
            if told := listed.get(ref):
                channel = await self._channel(ref)
                await self.messages.channels.record_seen(told, tenant=channel.tenant, agent=channel.agent)
        for number, ref in enumerate(chosen):
            await self._record(ledger, ref, f"backfill:{platform.name}:{number % AT_ONCE}", begins)
        return len(chosen)

    async def _channel(self, ref: ChannelRef) -> Channel:
        """The channel as it is known, or as it will be."""
        if known := await self.messages.channels.find(ref):
            return known
        owner = self.owner_of(ref.platform)
        return Channel(ref, tenant=owner.tenant, agent=owner.name)

    async def _record(self, ledger: Ledger, ref: ChannelRef, lane: str, begins: datetime) -> None:
        source = f"backfill:{ref}"
        channel = await self._channel(ref)
        await ledger.record(
            RunRequest(
                id=run_id(source, begins),
                source=source,
                nominal=begins,
                task=TASK,
                queue="io",
                lane=lane,
                payload={"channel": str(ref)},
                tenant=channel.tenant,
                agent=channel.agent,
                cause=f"{channel.ref.platform} has connected, or a bot to it",
            )
        )

    async def read_channel(self, run: Run) -> Outcome:
        """
        Read a channel's past, and remember what is not known of it or has changed.

        Telling it again changes nothing, so an attempt that was cut off is made again from where it had come.
        What was forgotten does not come back.
        """
        ref = ChannelRef.parse(run.payload["channel"])
        platform = self.platforms.get(ref.platform)
        if platform is None:
            return failed(f"no platform is called {ref.platform!r}; set [platforms.{ref.platform}]")
        readiness = await platform.ready()
        if not readiness.ready:
            raise PlatformDown(readiness.why)
        channel = await self._channel(ref)
        if channel.tenant != self.owner_of(platform.name).tenant:
            return skipped(f"{platform.name} is set up for another tenant")
        if readiness.user_id:
            await self._learn_own_user(UserRef(ref.platform, readiness.user_id), channel)
        past = _last(await platform.history(ref.id, limit=HISTORY)) if platform.has_history else []
        told = run.checkpoint or await self._observe(run, channel, past)
        if not self.queue.off:
            missing = await self._without_vectors(channel, [each.message_id for each in past])
            told["unembedded"] = await self.queue.add(missing, run.started_at)
            await self.queue.wake()
        return done(**told)

    async def _learn_own_user(self, user: UserRef, channel: Channel) -> None:
        if user not in await self.messages.own_users(channel.tenant):
            await self.messages.learn_own_user(user, agent=channel.agent, tenant=channel.tenant)

    async def _observe(self, run: Run, channel: Channel, past: Iterable[PastMessage]) -> dict[str, int]:
        result = await self.messages.observe(
            [_observed(channel.ref, each) for each in past], tenant=channel.tenant, agent=channel.agent
        )
        told = {
            "new": result.new,
            "repaired": result.edited,
            "taken_back": result.deleted,
            "known": result.known + result.echoes,
            "refused": sum(result.refused.values()),
        }
        await run.save(told)
        return told

    async def _without_vectors(self, channel: Channel, ids: Sequence[str]) -> list[Message]:
        model = await self.model_of(channel.tenant)
        known = await self.messages.find(channel.ref, ids)
        return [each for each in known.values() if not model or each.embedded != model.name]


def read_catalogue(platform: Platform, servers: Iterable[Server]) -> dict[ChannelRef, SeenChannel]:
    """The channels of a platform whose servers hold channels, or whose rooms are channels themselves."""
    found: dict[ChannelRef, SeenChannel] = {}
    for server in servers:
        if server.channels:
            for each in server.channels:
                found |= _listed(platform, each.id, each.name, server_id=server.id, server_name=server.name)
        elif server.is_dm or not platform.servers_hold_channels:
            found |= _listed(
                platform, server.id, server.name, is_dm=server.is_dm, members=server.member_count
            )
    return found


def _listed(platform: Platform, id: str, name: str, **told: Any) -> dict[ChannelRef, SeenChannel]:
    """The channel, unless a channel cannot be called this."""
    try:
        ref = ChannelRef(platform.name, id)
    except BadQuery as error:
        log.warning("channel_not_listed", platform=platform.name, why=str(error))
        return {}
    return {ref: SeenChannel(ref, name, **told)}


def _last(past: Sequence[PastMessage]) -> list[PastMessage]:
    """No more of it than was asked for."""
    said = [each for each in past if not each.taken_back]
    taken_back = [each for each in past if each.taken_back]
    return said[-HISTORY:] + taken_back[-TAKEN_BACK:]


def _observed(ref: ChannelRef, past: PastMessage) -> Observed:
    return Observed(
        MessageKind.DELETED if past.taken_back else MessageKind.NEW,
        ref,
        past.message_id,
        past.user_id,
        past.user_name,
        past.text,
        past.at,
        # Which of them is our own is known by its user id; see `learn_own_user`.
        Origin.AGENT if past.is_bot else Origin.HUMAN,
        past.reply_to,
        past.edited_at,
    )
