"""
Rooms of our own as people use them.

Of other platforms a bot tells what is said. Here nobody does, so whoever says something has it remembered in
the same step, and heartbeats notice it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightshift import agents
from nightshift.agents.settings import AgentsSection
from nightshift.base.errors import BadQuery
from nightshift.base.refs import ChannelRef
from nightshift.intake.observing import Observer
from nightshift.memory.message import MessageKind, Observed
from nightshift.platforms.local import LocalPlatform

#: Characters that a person may say at once.
LONGEST = 4_000


@dataclass(frozen=True)
class Rooms:
    """Where people and agents of this deployment talk."""

    platform: LocalPlatform
    observer: Observer
    settings: AgentsSection

    def ref(self, room: str) -> ChannelRef:
        """What the room is called among channels."""
        return ChannelRef(self.platform.name, room)

    async def say(self, room: str, user: str, text: str) -> str:
        """Say this as a person; returns what became of it in memory: ``new``, or why it is not kept."""
        if len(text) > LONGEST:
            raise BadQuery(f"that is {len(text)} characters; say {LONGEST} at most at once")
        ref = self.ref(room)
        known = await self.observer.messages.channels.find(ref)
        agent = agents.of(self.settings, known.agent if known else "")
        said = await self.platform.say(room, user, text)
        seen = Observed(MessageKind.NEW, ref, said.message_id, user, user, text, said.at)
        [outcome] = (await self.observer.observe(agent, [seen])).outcomes
        return outcome
