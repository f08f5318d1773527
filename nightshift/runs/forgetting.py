"""Taking what was said out of runs and of the stream of events, without losing that there were runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta

from nightshift.base.errors import NotPossible, TransientError
from nightshift.base.instants import to_ms
from nightshift.base.subject import Subject
from nightshift.runs.ledger import Ledger
from nightshift.runs.row import RunId, RunRow
from nightshift.runs.states import ENDED
from nightshift.store.client import LARGEST_READ, take, walk_index
from nightshift.store.events import read_events

#: Whether any of these texts has to do with what is forgotten.
Mentioned = Callable[[Iterable[str]], bool]

REASON = "forgotten"
#: A worker hears within a third of its lease that a run was cancelled.
PATIENCE = timedelta(seconds=15)
LOOK_AGAIN = timedelta(milliseconds=200)
EMPTY = "{}"


async def forget_in_runs(
    ledger: Ledger, mentioned: Mentioned, *, dry_run: bool = False, patience: timedelta = PATIENCE
) -> int:
    """
    Empty every run that has to do with it: payload, checkpoint, result and the details of its story.

    Open ones are cancelled first. That they were there, for what, when and at what cost, stays.
    """
    found = [
        row
        for index in (ledger.keys.open, *map(ledger.keys.ended, ENDED))
        async for row in _rows(ledger, index)
        if _holds_something(row) and mentioned(row.raw.values())
    ]
    if dry_run:
        return len(found)
    stubborn = await _end([row.id for row in found if not row.state.ended], ledger, patience)
    for row in found:
        await _empty(ledger, row)
    if stubborn:
        raise TransientError(
            f"{len(stubborn)} runs that have to do with it do not stop, such as {stubborn[0]}; "
            "forget it again in a minute"
        )
    return len(found)


async def _rows(ledger: Ledger, index: str) -> AsyncIterator[RunRow]:
    async with aclosing(walk_index(ledger.redis, index, None)) as entries:
        while batch := await take(entries, LARGEST_READ):
            for row in await ledger.rows([run for _, run in batch]):
                yield row


def _holds_something(row: RunRow) -> bool:
    raw = row.raw
    said = raw["payload"] != EMPTY or raw.get("checkpoint") or raw.get("result")
    return bool(said or not row.state.ended or any(line.detail for line in row.story))


async def _end(runs: Sequence[RunId], ledger: Ledger, patience: timedelta) -> Sequence[RunId]:
    """Cancel them and give their workers a moment to stop; returns those that have not."""
    for run in runs:
        with suppress(NotPossible):  # it ended just now
            await ledger.cancel(run, reason=REASON)
    until = asyncio.get_running_loop().time() + patience.total_seconds()
    while still := [row.id for row in await ledger.rows(runs) if not row.state.ended]:
        if asyncio.get_running_loop().time() > until:
            break
        await asyncio.sleep(LOOK_AGAIN.total_seconds())
    return still


async def _empty(ledger: Ledger, row: RunRow) -> None:
    key = ledger.keys.run(row.id)
    row = await ledger.get(row.id)
    story = "".join(f"{to_ms(line.at)} {line.what}\n" for line in row.story)
    change = ledger.redis.pipeline(transaction=True)
    change.hset(key, mapping={"payload": EMPTY, "reason": REASON, "story": story})
    change.hdel(key, "checkpoint", "result")
    await change.execute()


async def forget_in_events(ledger: Ledger, mentioned: Mentioned, *, dry_run: bool = False) -> int:
    """Take out of the stream what has to do with it."""
    redis, keys = ledger.redis, ledger.keys
    gone, after = 0, "0-0"
    while events := await read_events(redis, keys, after=after, limit=LARGEST_READ):
        found = [event.id for event in events if mentioned(event.facts.values())]
        gone += len(found)
        if found and not dry_run:
            await redis.xdel(keys.events, *found)
        after = events[-1].id
    return gone


class RunForgetter:
    """What runs carry: payloads, checkpoints, results, the details of their stories."""

    name = "runs"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        return await forget_in_runs(self._ledger, subject.mentioned_in, dry_run=dry_run)


class EventForgetter:
    """What the stream of events tells."""

    name = "events"

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def forget(self, subject: Subject, *, dry_run: bool = False) -> int:
        return await forget_in_events(self._ledger, subject.mentioned_in, dry_run=dry_run)
