"""A channel as people look at it: what is kept of it, when it is visited next, and why it last was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.base.refs import ChannelRef
from nightshift.channels.channel import Channel
from nightshift.heartbeats.row import VisitRow, source_of
from nightshift.heartbeats.visits import Visits
from nightshift.memory.messages import Messages
from nightshift.runs.ledger import Ledger, Skip

#: As many skips as are looked at.
SHOWN = 10


@dataclass(frozen=True)
class ChannelView:
    """One channel, and what happens there."""

    channel: Channel
    #: Messages that are remembered.
    messages: int
    #: How its visits stand; nothing if it is not visited.
    visit: VisitRow | None
    #: The last visits that were not, the latest first.
    skips: Sequence[Skip]


async def view_channel(ledger: Ledger, messages: Messages, visits: Visits, ref: ChannelRef) -> ChannelView:
    """What there is to see of a channel; raises UnknownChannel."""
    return ChannelView(
        channel=await messages.channels.get(ref),
        messages=await messages.count(ref),
        visit=await visits.find(ref),
        skips=(await ledger.skips(source_of(ref)))[:SHOWN],
    )
