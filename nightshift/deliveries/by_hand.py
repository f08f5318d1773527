"""What people do to a delivery."""

from __future__ import annotations

from enum import StrEnum

from nightshift.base.errors import NotPossible
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, DeliveryState


class DeliveryVerdict(StrEnum):
    """What somebody who has looked says of a delivery."""

    SENT = "sent"
    RESEND = "resend"


#: Of which states each may be said.
FITS = {
    DeliveryVerdict.SENT: (DeliveryState.UNKNOWN,),
    DeliveryVerdict.RESEND: (DeliveryState.UNKNOWN, DeliveryState.FAILED),
}
WHY_NOT = {
    DeliveryState.REQUESTED: "it is still being sent",
    DeliveryState.SENT: "the platform has it",
    DeliveryState.FAILED: "the platform does not have it; it can be sent again",
    DeliveryState.SUPPRESSED: "it was never to be sent",
}


def verdicts(delivery: Delivery) -> list[DeliveryVerdict]:
    """What may be said of it."""
    return [verdict for verdict, states in FITS.items() if delivery.state in states]


async def resolve(deliveries: Deliveries, id: str, verdict: DeliveryVerdict, *, by: str) -> Delivery:
    """Mark what nobody knew was sent, or send it again knowingly; also what failed can be sent again."""
    delivery = await deliveries.get(id)
    if verdict not in verdicts(delivery):
        raise NotPossible(f"delivery {id!r} is {delivery.state}: {WHY_NOT[delivery.state]}")
    if verdict is DeliveryVerdict.SENT:
        return await deliveries.mark_sent(id, by=by)
    return await deliveries.send_again(delivery, by=by)
