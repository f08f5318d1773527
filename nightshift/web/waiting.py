"""Bots that wait for something of their agent's: events wake them, so that waiting asks the store nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from fastapi import Request

from nightshift.agents.agent import Agent
from nightshift.base.errors import Overloaded
from nightshift.store.events import Event

#: Bots that one process lets wait at once, and processes of one agent among them.
MOST, MOST_OF_ONE = 1_000, 20


class WaitingRoom:
    """Everybody who waits in this process."""

    def __init__(self) -> None:
        self._bells: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    @property
    def count(self) -> int:
        return sum(map(len, self._bells.values()))

    def hear(self, event: Event) -> None:
        """Wake those whose agent this event is about."""
        whose = event.facts.get("tenant", ""), event.facts.get("agent", "")
        for bell in self._bells.get(whose, ()):
            bell.set()

    def close(self) -> None:
        """Send everybody away, because the process is about to stop."""
        self._closed = True
        for bell in [bell for bells in self._bells.values() for bell in bells]:
            bell.set()

    async def until_found[T](
        self,
        request: Request,
        agent: Agent,
        patience: timedelta,
        look: Callable[[], Awaitable[T | timedelta | None]],
    ) -> T | None:
        """
        What there is for the agent, as soon as there is something; nothing once patience is at its end.

        ``look`` may say how soon there will be something. Nothing is looked for on behalf of who has gone.
        """
        clock = asyncio.get_running_loop().time
        give_up = clock() + patience.total_seconds()
        gone = asyncio.create_task(_until_gone(request))
        try:
            with self._bell(agent) as bell:
                while not (self._closed or gone.done()):
                    bell.clear()
                    found = await look()
                    pause = give_up - clock()
                    if isinstance(found, timedelta):
                        pause = min(pause, found.total_seconds())
                    elif found is not None:
                        return found
                    if clock() >= give_up:
                        break
                    ringing = asyncio.create_task(bell.wait())
                    await asyncio.wait(
                        {ringing, gone}, timeout=max(pause, 0), return_when=asyncio.FIRST_COMPLETED
                    )
                    ringing.cancel()
        finally:
            gone.cancel()
        return None

    @contextmanager
    def _bell(self, agent: Agent) -> Iterator[asyncio.Event]:
        whose = agent.tenant, agent.name
        if self.count >= MOST or len(self._bells[whose]) >= MOST_OF_ONE:
            raise Overloaded(
                f"{MOST_OF_ONE} of one agent and {MOST} in all may wait here at once; "
                "let fewer ask, or add a web"
            )
        bell = asyncio.Event()
        self._bells[whose].add(bell)
        try:
            yield bell
        finally:
            self._bells[whose].discard(bell)
            if not self._bells[whose]:
                del self._bells[whose]


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
