"""Remembering what was sent, so that its echo is known for our own."""

from __future__ import annotations

from nightshift.deliveries.delivery import Delivery
from nightshift.deliveries.sending import RecordOwn
from nightshift.memory.message import Origin
from nightshift.memory.messages import Messages
from nightshift.money.payer import Occasion


def recording_in(messages: Messages) -> RecordOwn:
    """Have what is sent noted among the messages; what a heartbeat caused is nobody's to learn from."""

    async def record_own(delivery: Delivery) -> None:
        if delivery.sent is None:  # pragma: no cover  what is sent says when
            return
        await messages.record_own(
            delivery.channel,
            delivery.message_id,
            delivery.text,
            at=delivery.sent,
            origin=Origin.HEARTBEAT if delivery.kind == Occasion.HEARTBEAT else Origin.AGENT,
            tenant=delivery.tenant,
            agent=delivery.agent or "default",
        )

    return record_own
