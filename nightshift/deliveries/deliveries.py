"""Deliveries in the store: a few scripts that change them, and plain reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.base.errors import NotPossible, UnknownDelivery
from nightshift.base.instants import to_ms
from nightshift.base.refs import ChannelRef
from nightshift.controls.switches import SHADOW, Switches
from nightshift.deliveries.delivery import Delivery, DeliveryState, NewDelivery, key_of, sending_run
from nightshift.deliveries.reasons import ASKS_WITHIN, reason_of
from nightshift.store.client import text_hash
from nightshift.store.keys import Keys
from nightshift.store.scripts import Scripts

#: What a bot took and says nothing of is offered to it again after this.
BOT_LEASE = timedelta(seconds=60)
#: And so often at the most.
BOT_OFFERS = 3
REQUESTED, SENT, FAILED = DeliveryState.REQUESTED, DeliveryState.SENT, DeliveryState.FAILED
UNKNOWN, SUPPRESSED = DeliveryState.UNKNOWN, DeliveryState.SUPPRESSED


class Deliveries:
    """The only way to change a delivery."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        switches: Switches,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """``clock`` replaces the server's time in tests."""
        self.redis = redis
        self.keys = keys
        self.switches = switches
        names = (
            "request_delivery",
            "claim_delivery",
            "move_delivery",
            "offer_deliveries",
            "drop_deliveries",
            "forget_deliveries",
        )
        self._scripts = Scripts("nightshift.deliveries", names, redis, keys, clock=clock)

    # Changing

    async def request(self, new: NewDelivery) -> Delivery:
        """
        Write down what is to be said, and have it sent; in shadow, write it down and leave it at that.

        Asking twice for the same is asking once, whatever the switch says by then.
        """
        in_shadow = (await self.switches.read()).in_shadow
        row = await self._scripts.run(
            "request_delivery",
            delivery=self._fields(new),
            state=SUPPRESSED if in_shadow else REQUESTED,
            reason=SHADOW if in_shadow else "",
        )
        return Delivery.from_hash(_pairs(row))

    def _fields(self, new: NewDelivery) -> dict[str, str]:
        channel = str(new.channel)
        by_bot = new.by == "bot"
        return {
            "id": new.id,
            "run": new.run,
            "source": new.run.rpartition("@")[0] or new.run,
            "channel": channel,
            "text": new.text,
            "reply_to": new.reply_to,
            "by": new.by,
            "tenant": new.tenant,
            "agent": new.agent,
            "audience": new.audience or channel,
            "kind": new.kind,
            "queue": self.keys.bot_queue(new.tenant, new.agent)
            if by_bot
            else self.keys.sending_queue(channel),
            **_one_more_time(new.id, 1, channel, new.tenant, new.agent, by_bot=by_bot),
        }

    async def claim(self, id: str, *, run: str, claim: str, repeatable_for: timedelta) -> Delivery | None:
        """Begin a send; nothing if it is not this run's to send, or may not be sent again."""
        answer = await self._scripts.run(
            "claim_delivery", id=id, run=run, claim=claim, repeatable_ms=_ms(repeatable_for), release=False
        )
        return Delivery.from_hash(_pairs(answer[1])) if answer[0] == "claimed" else None

    async def release(self, id: str, *, claim: str) -> None:
        """Say that what was begun was surely not sent; of an earlier attempt that says nothing."""
        await self._scripts.run("claim_delivery", id=id, claim=claim, release=True)

    async def sent(
        self, id: str, *, message_id: str, at: datetime | None = None, claim: str | None = None
    ) -> Delivery:
        """Say that the platform has it; true also of what was unknown until now."""
        fields = {"message_id": message_id}
        return await self._move(id, SENT, from_=(REQUESTED, UNKNOWN), at=at, claim=claim, fields=fields)

    async def failed(self, id: str, reason: str, *, claim: str | None = None) -> Delivery:
        return await self._move(id, FAILED, reason, from_=(REQUESTED,), claim=claim)

    async def unknown(self, id: str, reason: str, *, claim: str | None = None) -> Delivery:
        return await self._move(id, UNKNOWN, reason, from_=(REQUESTED,), claim=claim)

    async def suppress(self, id: str, reason: str) -> Delivery:
        """Never say what nobody has begun to send."""
        return await self._move(id, SUPPRESSED, reason, from_=(REQUESTED,), claim="")

    async def mark_sent(self, id: str, *, by: str) -> Delivery:
        """What nobody knew was sent, says somebody who has looked."""
        return await self._move(id, SENT, f"marked as sent by {by}", from_=(UNKNOWN,))

    async def send_again(self, delivery: Delivery, *, by: str) -> Delivery:
        """Send it once more, knowingly: under another key, behind what else waits for its channel."""
        again = _one_more_time(
            delivery.id,
            delivery.times + 1,
            str(delivery.channel),
            delivery.tenant,
            delivery.agent,
            by_bot=delivery.by == "bot",
        )
        fields = {**again, "message_id": "", "sent": ""}
        return await self._move(
            delivery.id, REQUESTED, f"sent again by {by}", from_=(UNKNOWN, FAILED), fields=fields
        )

    async def _move(
        self,
        id: str,
        to: DeliveryState,
        reason: str = "",
        *,
        from_: Sequence[DeliveryState],
        at: datetime | None = None,
        claim: str | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Delivery:
        request: dict[str, Any] = {"from": from_}
        if claim is not None:
            request["claim"] = claim
        if at is not None:
            request["at"] = str(to_ms(at))
        answer = await self._scripts.run(
            "move_delivery", id=id, to=to, reason=reason, fields=fields or {}, **request
        )
        if answer[0] == "missing":
            raise _no_such(id)
        delivery = Delivery.from_hash(_pairs(answer[1]))
        if answer[0] == "stale":
            raise NotPossible(f"delivery {id!r} is {delivery.state}, so it can no longer become {to}")
        return delivery

    async def note_bot(self, tenant: str, agent: str, platform: str = "") -> None:
        """Remember for a while that this agent's bot asks for what it is to say there."""
        await self.redis.set(self.keys.bot_asks(tenant, agent, platform), 1, px=ASKS_WITHIN)

    async def offer(
        self,
        tenant: str,
        agent: str,
        *,
        platform: str = "",
        channels: Iterable[ChannelRef] | None = None,
        holding: Sequence[str],
        limit: int,
    ) -> list[Delivery]:
        """
        Hand a bot what it is to say, leased; what it holds stays its own. In shadow, there is nothing.

        ``platform`` and ``channels``: those that it serves, if it is not all that its agent speaks in.
        """
        in_shadow = (await self.switches.read()).in_shadow
        rows = await self._scripts.run(
            "offer_deliveries",
            queue=self.keys.bot_queue(tenant, agent),
            platform=platform,
            holding=list(holding),
            lease_ms=_ms(BOT_LEASE),
            offers=BOT_OFFERS,
            limit=limit,
            **({} if channels is None else {"channels": list(map(str, channels))}),
            **({"kept_back": SHADOW} if in_shadow else {}),
        )
        return [Delivery.from_hash(_pairs(row)) for row in rows]

    async def drop(self, state: DeliveryState, *, before: datetime, limit: int) -> int:
        """Drop some of those that came to this state before; returns how many."""
        return int(await self._scripts.run("drop_deliveries", state=state, before=to_ms(before), limit=limit))

    async def forget(self, ids: Sequence[str]) -> int:
        """Take out what these say, and send none that still waits; returns how many said something."""
        return int(await self._scripts.run("forget_deliveries", ids=list(ids)))

    # Reading

    async def find(self, id: str) -> Delivery | None:
        row = await text_hash(self.redis, self.keys.delivery(id))
        return Delivery.from_hash(row) if row else None

    async def get(self, id: str) -> Delivery:
        """The delivery, with the reason why it stands where it does."""
        delivery = await self.find(id)
        if delivery is None:
            raise _no_such(id)
        (explained,) = await self.explained([delivery])
        return explained

    async def rows(self, ids: Sequence[str]) -> list[Delivery]:
        """Those that are there, in the order asked for."""
        pipeline = self.redis.pipeline(transaction=False)
        for id in ids:
            pipeline.hgetall(self.keys.delivery(id))
        return [Delivery.from_hash(row) for row in await pipeline.execute() if row]

    async def explained(self, rows: Sequence[Delivery]) -> list[Delivery]:
        """These deliveries with why each stands where it does, as far as anybody can tell by now."""
        whose = {_whose(row) for row in rows if row.state is REQUESTED and row.by == "bot"}
        pipeline = self.redis.pipeline(transaction=False)
        for tenant, agent, platform in whose:
            pipeline.exists(*(self.keys.bot_asks(tenant, agent, where) for where in (platform, "")))
        asks = dict(zip(whose, await pipeline.execute(), strict=True))
        frozen = (await self.switches.read()).frozen
        return [
            replace(
                row,
                reason=reason_of(row, frozen=frozen, bot_asks=bool(asks.get(_whose(row)))),
            )
            for row in rows
        ]

    async def counts(self) -> dict[DeliveryState, int]:
        """How many of each state are kept."""
        pipeline = self.redis.pipeline(transaction=False)
        for state in DeliveryState:
            pipeline.zcard(self.keys.deliveries(state))
        return dict(zip(DeliveryState, await pipeline.execute(), strict=True))


def _one_more_time(
    id: str, times: int, channel: str, tenant: str, agent: str, *, by_bot: bool
) -> dict[str, str]:
    """What each knowing send has of its own: its key, and the run that makes it."""
    run = {} if by_bot else sending_run(id, times, channel, tenant=tenant, agent=agent)
    return {
        "times": str(times),
        "key": key_of(id, times),
        "sending_run": run.get("id", ""),
        "sending": json.dumps(run) if run else "",
    }


def _whose(row: Delivery) -> tuple[str, str, str]:
    """Whose bot sends it, and where."""
    return row.tenant, row.agent, row.channel.platform


def _no_such(id: str) -> UnknownDelivery:
    return UnknownDelivery(f"no delivery is called {id!r}; `nightshift deliveries` lists those that are kept")


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _ms(duration: timedelta) -> int:
    return round(duration.total_seconds() * 1000)
