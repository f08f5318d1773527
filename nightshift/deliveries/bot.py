"""Deliveries that an agent's own bot sends: pulled, leased, and confirmed with the platform's own id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightshift.base.errors import Frozen, UnknownDelivery
from nightshift.base.refs import ChannelRef
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery
from nightshift.deliveries.sending import RecordOwn, Stop

#: Handed out at once, at the most.
BATCH = 20


@dataclass(frozen=True)
class BotPost:
    """What the bot of one agent is to say."""

    deliveries: Deliveries
    stop: Stop
    record_own: RecordOwn
    tenant: str
    agent: str

    async def pull(
        self,
        *,
        platform: str = "",
        channels: Iterable[ChannelRef] | None = None,
        holding: Sequence[str] = (),
        limit: int = BATCH,
    ) -> list[Delivery]:
        """
        What is to be said next, in each channel's order; nothing while everything is frozen.

        A bot that serves one platform, or some ``channels`` of it, is handed what goes there.

        It is the bot's for a minute, and for another each time that the bot asks for more and says that it is
        ``holding`` it. After that it is offered again, and may have been sent.
        """
        await self.deliveries.note_bot(self.tenant, self.agent, platform)
        try:
            await self.stop.refuse()
        except Frozen:
            limit = 0
        return await self.deliveries.offer(
            self.tenant, self.agent, platform=platform, channels=channels, holding=holding, limit=limit
        )

    async def sent(self, id: str, *, message_id: str) -> Delivery:
        """The platform has it, under this id. Safe to repeat."""
        await self._own(id)
        delivery = await self.deliveries.sent(id, message_id=message_id)
        await self.record_own(delivery)
        return delivery

    async def failed(self, id: str, reason: str) -> Delivery:
        """The platform does not have it, and will not take it. Safe to repeat."""
        await self._own(id)
        return await self.deliveries.failed(id, reason)

    async def _own(self, id: str) -> Delivery:
        delivery = await self.deliveries.find(id)
        whose = (delivery.by, delivery.tenant, delivery.agent) if delivery else None
        if delivery is None or whose != ("bot", self.tenant, self.agent):
            raise UnknownDelivery(
                f"no delivery is called {id!r}; GET /v1/deliveries/pull gives those that are yours to send"
            )
        return delivery
