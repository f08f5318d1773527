"""
Connections to the platforms: when one began, and whether it still lasts.

A connection begins when a platform is found ready. It ends when it is found not to be, when it knows us by
another user, or when the worker that found it has ended: whoever looks next begins another. It also begins
anew with each connection of a bot, which heard nothing before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from nightshift.agents.liveness import Bot
from nightshift.base.instants import EPOCH, from_ms, to_ms
from nightshift.platforms.platform import Platform, Readiness
from nightshift.processes.signs_of_life import read_processes
from nightshift.store.client import text_hash
from nightshift.store.keys import Keys

ASK_AGAIN = timedelta(seconds=1)
#: Longer than any platform takes to say whether it is ready.
ANSWER_WITHIN = timedelta(seconds=20)
#: A bot that has said for so long that it is connected since then has not just made that up.
SETTLED = timedelta(seconds=20)


@dataclass(frozen=True)
class Holder:
    """The life of a worker process that looks after connections."""

    worker: str
    #: Another after every start.
    life: str

    def __str__(self) -> str:
        return f"{self.worker} {self.life}"


@dataclass(frozen=True)
class Connection:
    """How a platform was found when somebody last looked."""

    up: bool
    #: How often it has been connected.
    number: int
    since: datetime
    user_id: str
    held_by: str
    why: str
    #: The bots that were there.
    bots: frozenset[str] = frozenset()

    def is_older_than(self, bot: Bot) -> bool:
        """
        Whether this bot connected after it began.

        Of one that was there when somebody last looked, a second sign of life has to say the same: some bots
        say each time that they have just connected.
        """
        anew = _name(bot) not in self.bots or bot.heard - bot.connected_since >= SETTLED
        return anew and bot.connected_since > self.since


NEVER = Connection(False, 0, EPOCH, "", "", "")


class Connections:
    """The only way to change what is known of connections."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def find(self, platform: str) -> Connection | None:
        row = await text_hash(self._redis, self._keys.connection(platform))
        if not row:
            return None
        return Connection(
            row["up"] == "1",
            int(row["number"]),
            from_ms(row["since"]),
            row["user_id"],
            row["held_by"],
            row["why"],
            frozenset(json.loads(row.get("bots", "[]"))),
        )

    async def has_looked(self, holder: Holder, platforms: Iterable[str]) -> bool:
        """Whether this worker has looked at one of them since it started."""
        found = [await self.find(platform) for platform in platforms]
        return any(each.held_by == str(holder) for each in found if each)

    async def is_new(
        self, platform: str, readiness: Readiness, holder: Holder, bots: Iterable[Bot] = ()
    ) -> bool:
        """Whether what was found just now is the beginning of a connection; ``bots``: who is there."""
        before = await self.find(platform)
        return readiness.ready and (
            before is None
            or not before.up
            or before.user_id != readiness.user_id
            or any(map(before.is_older_than, bots))
            or not await self._is_held(before, holder)
        )

    async def note(
        self,
        platform: str,
        readiness: Readiness,
        holder: Holder,
        bots: Iterable[Bot] = (),
        *,
        begins: datetime | None,
    ) -> None:
        """Store what was found; ``begins``: a connection begins with it. Safe to repeat."""
        row: dict[Any, Any] = {
            "up": "1" if readiness.ready else "0",
            "user_id": readiness.user_id,
            "why": readiness.why,
            "held_by": str(holder),
            "bots": json.dumps(sorted(map(_name, bots))),
        }
        before = await self.find(platform) or NEVER
        if begins and before.since != begins:
            row |= {"number": before.number + 1, "since": to_ms(begins)}
        elif before is NEVER:
            row |= {"number": 0, "since": to_ms(NEVER.since)}
        await self._redis.hset(self._keys.connection(platform), mapping=row)

    async def _is_held(self, connection: Connection, holder: Holder) -> bool:
        worker, _, _ = connection.held_by.partition(" ")
        if worker == holder.worker:
            return connection.held_by == str(holder)
        return any(
            each.alive and each.name == worker for each in await read_processes(self._redis, self._keys)
        )


def _name(bot: Bot) -> str:
    return f"{bot.tenant} {bot.agent} {bot.process}"


async def ask_all(platforms: Mapping[str, Platform], *, patience: timedelta) -> dict[str, Readiness]:
    """Whether each platform is ready; those that are not yet are given this long to become so."""
    found: dict[str, Readiness] = {}
    until = asyncio.get_running_loop().time() + patience.total_seconds()
    while True:
        waiting = [
            platform for name, platform in platforms.items() if not (name in found and found[name].ready)
        ]
        answers = await asyncio.gather(*map(_ask, waiting))
        found |= {platform.name: answer for platform, answer in zip(waiting, answers, strict=True)}
        if all(each.ready for each in found.values()) or asyncio.get_running_loop().time() >= until:
            return found
        await asyncio.sleep(ASK_AGAIN.total_seconds())


async def _ask(platform: Platform) -> Readiness:
    try:
        async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
            return await platform.ready()
    except TimeoutError:
        return Readiness(False, f"{platform.name} has not said within {ANSWER_WITHIN} whether it is ready")
    except Exception as error:  # one that breaks its promise costs only itself
        return Readiness(False, f"{type(error).__name__} from {platform.name}")
