"""
Sending one delivery: freeze, shadow, claim, send, remember.

The run that sends is done once its delivery has an end, whichever that is. It fails only where it gives up,
and then the delivery fails with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from nightshift.agents.agent import Agent
from nightshift.base.errors import NotTaken, PermanentError, PlatformDown, RateLimited, SendUnknown
from nightshift.controls.switches import SHADOW
from nightshift.deliveries.deliveries import Deliveries
from nightshift.deliveries.delivery import Delivery, DeliveryState
from nightshift.platforms.platform import Outgoing, Platform
from nightshift.runs.carry import Run
from nightshift.runs.states import Outcome, done, skipped

#: Remember what was sent as our own, so that its echo is known.
RecordOwn = Callable[[Delivery], Awaitable[None]]


class Stop(Protocol):
    """What stops every send until somebody says otherwise: the freeze."""

    async def refuse(self) -> None:
        """Raise Frozen while it holds."""

    def watch(self) -> AbstractAsyncContextManager[object]:
        """Cut short what is done within once it holds."""


@dataclass(frozen=True)
class Sender:
    """What a send needs."""

    deliveries: Deliveries
    platforms: Mapping[str, Platform]
    #: Whose each of them is.
    owner_of: Callable[[str], Agent]
    stop: Stop
    record_own: RecordOwn

    async def send(self, run: Run) -> Outcome:
        """
        Bring the delivery that this run was recorded for to an end.

        Safe to repeat: what another attempt began and left no word of is sent again only while the platform
        would know it again, and is unknown otherwise.
        """
        await self.stop.refuse()
        id = run.payload["delivery"]
        delivery = await self.deliveries.get(id)
        if delivery.sending_run != run.id:
            return skipped("it was sent again meanwhile, by another run")
        if delivery.state is DeliveryState.REQUESTED:
            if (await self.deliveries.switches.read()).in_shadow:
                delivery = await self._keep_back(delivery)
            else:
                delivery = await self._deliver(run, delivery)
        if delivery.state is DeliveryState.SENT:
            await self.record_own(delivery)
        return done(delivery=id, state=delivery.state, reason=delivery.reason)

    async def _keep_back(self, delivery: Delivery) -> Delivery:
        id, begun = delivery.id, delivery.claimed
        if begun:
            return await self.deliveries.unknown(id, "it was being sent as shadow began", claim=begun)
        return await self.deliveries.suppress(id, SHADOW)

    async def _deliver(self, run: Run, delivery: Delivery) -> Delivery:
        id, claim = delivery.id, f"{run.id}#{run.row.token}"
        platform = self.platforms.get(delivery.channel.platform)
        if platform is None:
            name = delivery.channel.platform
            return await self.deliveries.failed(id, f"no platform is called {name!r}; set [platforms.{name}]")
        if self.owner_of(platform.name).tenant != delivery.tenant:
            return await self.deliveries.failed(id, f"{platform.name} is set up for another tenant")
        # Whoever lost the run meanwhile, or was told to stop, must not speak.
        await run.renew()
        if not await self.deliveries.claim(
            id, run=run.id, claim=claim, repeatable_for=platform.repeatable_for
        ):
            return await self.deliveries.get(id)
        out = Outgoing(delivery.channel.id, delivery.text, delivery.key, delivery.reply_to)
        try:
            async with self.stop.watch():
                sent = await platform.send(out)
        except (RateLimited, NotTaken):
            await self.deliveries.release(id, claim=claim)
            raise
        except PlatformDown:
            # Where the same can be sent again, being down may also mean that the answer was lost.
            if platform.repeatable_for == timedelta(0):
                await self.deliveries.release(id, claim=claim)
            raise
        except SendUnknown as error:
            return await self.deliveries.unknown(id, str(error), claim=claim)
        except PermanentError as error:
            # What an earlier attempt left no word of may stand there all the same.
            end = self.deliveries.unknown if delivery.claimed else self.deliveries.failed
            return await end(id, str(error), claim=claim)
        return await self.deliveries.sent(id, message_id=sent.message_id, at=sent.at, claim=claim)
