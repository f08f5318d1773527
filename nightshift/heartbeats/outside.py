"""What stands in a visit's way outside its channel: freeze, endpoints, platforms, bots, work, budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

from redis.asyncio import Redis

from nightshift.agents.agent import Agent
from nightshift.agents.liveness import AgentLiveness
from nightshift.base.errors import BadSetting, Frozen, OutOfBudget, OverRunCap
from nightshift.base.instants import from_ms
from nightshift.base.refs import ChannelRef
from nightshift.base.words import when
from nightshift.controls.freeze import Freeze
from nightshift.heartbeats.gates import Gate
from nightshift.heartbeats.row import source_of
from nightshift.llm.uses import Uses
from nightshift.money.payer import Occasion, Payer
from nightshift.money.purse import Purse
from nightshift.platforms.platform import Platform
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunId
from nightshift.runs.states import OPEN
from nightshift.store.client import store_now, text_field, text_value

#: A platform is asked whether it is ready at most this often, by all processes together.
PROBE_AGE = timedelta(seconds=30)
#: Within one process, what stands in the way of all is asked at most this often.
MOMENT = timedelta(seconds=1)
#: What a look is taken to cost while nobody knows, in micro-USD.
UNKNOWN_COST = 1


class Moment[T]:
    """An answer that is good enough for a moment: of very many who ask at once, one does."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking = asyncio.Lock()
        self._until = 0.0
        self._answer: T

    async def __call__(self) -> T:
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                self._answer = await self._ask()
                self._until = now + MOMENT.total_seconds()
        return self._answer


class Reach:
    """Whether what an agent says would reach a channel now."""

    def __init__(self, ledger: Ledger, platforms: Mapping[str, Platform], liveness: AgentLiveness) -> None:
        self._redis: Redis = ledger.redis
        self._keys = ledger.keys
        self._platforms = platforms
        self._liveness = liveness
        self._why_not_ready = {name: Moment(partial(self._probe, each)) for name, each in platforms.items()}

    async def missing(self, agent: Agent, refs: Sequence[ChannelRef]) -> Mapping[ChannelRef, str]:
        """The channels it would not reach, each with the reason."""
        missing: dict[ChannelRef, str] = {}
        if agent.delivers == "us":
            for name in {ref.platform for ref in refs}:
                if why := await self._why_missing(name):
                    missing.update({ref: why for ref in refs if ref.platform == name})
        if agent.delivers == "bot" or agent.runner == "pull":
            here = [presence async for presence in self._liveness.present(agent)]
            silent = f"the bot of agent {agent.name} gives no sign of life here"
            missing.update({ref: silent for ref in refs if not any(each.serves(ref) for each in here)})
        return missing

    async def _why_missing(self, name: str) -> str:
        if name not in self._why_not_ready:
            return f"no platform is called {name!r}; [platforms.{name}] in nightshift.toml would make one"
        return await self._why_not_ready[name]()

    async def _probe(self, platform: Platform) -> str:
        """Why this platform is not ready, as somebody found out of late."""
        key = self._keys.platform_probe(platform.name)
        why = await text_value(self._redis, key)
        if why is None:
            found = await platform.ready()
            why = "" if found.ready else f"{platform.name}: {found.why or 'it is not ready'}"
            await self._redis.set(key, why, px=PROBE_AGE)
        return why


class Surroundings:
    """What a visit asks of the rest of the deployment."""

    def __init__(self, ledger: Ledger, freeze: Freeze, purse: Purse, reach: Reach, uses: Uses) -> None:
        self._ledger = ledger
        self._freeze = freeze
        self._purse = purse
        self._reach = reach
        self._uses = uses
        self._stopped = Moment(self._ask_what_stops)

    async def stopped(self) -> Mapping[Gate, str]:
        return await self._stopped()

    async def _ask_what_stops(self) -> Mapping[Gate, str]:
        found = {}
        if freezing := await self._freeze.state():
            found[Gate.FROZEN] = freezing.describe()
        if why := await self._breakers():
            found[Gate.BREAKER] = why
        return found

    async def unreachable(self, agent: Agent, refs: Sequence[ChannelRef]) -> Mapping[ChannelRef, str]:
        return await self._reach.missing(agent, refs)

    async def busy(self, agent: Agent, ref: ChannelRef) -> str:
        redis, keys = self._ledger.redis, self._ledger.keys
        for lane in (source_of(ref), agent.lane):
            holder = await text_field(redis, keys.lane(lane), "holder")
            if holder and await text_field(redis, keys.run(holder), "state") in OPEN:
                return f"{holder} is not over"
        return ""

    async def over_budget(self, run: RunId, agent: Agent, ref: ChannelRef, needs: int) -> str:
        source = source_of(ref)
        payer = Payer(run, source, agent.tenant, agent.name, str(ref), Occasion.HEARTBEAT)
        cost = await self._purse.estimate("flash", source)
        try:
            hold = await self._purse.reserve(
                payer,
                model=self._uses.chain("flash").models[0].name,
                ceiling=max(needs, UNKNOWN_COST if cost is None else cost),
            )
        except (Frozen, OutOfBudget, OverRunCap) as error:
            return str(error)
        await self._purse.release(hold)
        return ""

    async def _breakers(self) -> str:
        """Why no model would be asked; empty if some endpoint of the chain may be."""
        try:
            endpoints = {model.endpoint for model in self._uses.chain("flash").models}
        except BadSetting as error:
            return str(error)
        redis, keys = self._ledger.redis, self._ledger.keys
        opened = [await text_field(redis, keys.breaker(endpoint), "until") for endpoint in sorted(endpoints)]
        if not any(opened):
            return ""
        now = await store_now(redis)
        tills = [from_ms(till) for till in opened if till and from_ms(till) > now]
        if len(tills) < len(endpoints):
            return ""
        return (
            f"half of the last calls to {', '.join(sorted(endpoints))} failed; again {when(min(tills), now)}"
        )
