"""Why a delivery stands where it does, for whoever looks: what it waits for, and what to do about that."""

from __future__ import annotations

from datetime import timedelta

from nightshift.base.words import span, times
from nightshift.controls.freeze import Freezing
from nightshift.controls.switches import SHADOW
from nightshift.deliveries.delivery import Delivery, DeliveryState

#: A bot that wants to say something itself asks at least so often.
ASKS_WITHIN = timedelta(seconds=60)
KEPT_BACK = (
    "shadow was on, so it was decided and is never said; "
    "`nightshift switches set shadow off` lets what comes next be said"
)


def reason_of(delivery: Delivery, *, frozen: Freezing | None, bot_asks: bool) -> str:
    """What the row says, and what of it shows only now; ``bot_asks``: its agent's bot has asked of late."""
    if delivery.state is DeliveryState.SUPPRESSED and delivery.reason == SHADOW:
        return KEPT_BACK
    if delivery.state is not DeliveryState.REQUESTED:
        return delivery.reason
    waits = _what_it_waits_for(delivery, frozen=frozen, bot_asks=bot_asks)
    return "; ".join(filter(None, (delivery.reason, waits)))


def _what_it_waits_for(delivery: Delivery, *, frozen: Freezing | None, bot_asks: bool) -> str:
    if frozen:
        return f"{frozen.describe()}; `nightshift thaw` ends it"
    if delivery.by != "bot":
        return ""
    waits = "waits for the agent's bot to ask for it"
    if delivery.offers:
        waits = f"its bot has taken it {times(delivery.offers)}, and has not said what became of it"
    if bot_asks:
        return waits
    return (
        f"{waits}; no bot of agent {delivery.agent} has asked within {span(ASKS_WITHIN)} for what goes to "
        f"{delivery.channel.platform}: start it, give its client `speak` and say when it is `connected`, as "
        "docs/adopt.md, step 3, shows"
    )
