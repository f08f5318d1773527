"""What a look is told besides the last messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from nightshift.base.errors import Overloaded
from nightshift.base.refs import ChannelRef
from nightshift.heartbeats.background import Background
from nightshift.memory.recall import Recall, Recalled, Recollection
from nightshift.memory.summaries import Summaries, Summary
from nightshift.money.payer import Payer
from tests.nightshift.heartbeats.scene import ROOM, Scene

PAYER = Payer("run", "source")


class Memory:
    """A recall that finds what the test says."""

    off = ""

    def __init__(self, found: Sequence[Recalled] = ()) -> None:
        self.found = found
        self.asked: list[tuple[str, ChannelRef]] = []
        self.broken = False

    async def search(self, query: str, destination: ChannelRef, limit: int, *, payer: Payer) -> Recollection:
        self.asked.append((query, destination))
        if self.broken:
            raise Overloaded("the graph is away")
        return Recollection(self.found)


def recalled(text: str, id: str, at: datetime) -> Recalled:
    return Recalled(ROOM, id, text, at, str(ROOM), 1.0)


async def told(scene: Scene, memory: Memory) -> dict[str, Any]:
    summaries = Summaries(scene.redis, scene.keys, clock=scene.clock)
    background = Background(summaries, cast(Recall, memory))
    channel = await scene.messages.channels.get(ROOM)
    return dict(await background.told(channel, await scene.messages.last(ROOM, 30), PAYER))


async def summarise(scene: Scene, text: str) -> None:
    summary = Summary(text, {"m1": 1}, (1, "m1"), 1, str(ROOM), scene.now, "run", "model", "summary.v1")
    await Summaries(scene.redis, scene.keys, clock=scene.clock).keep(ROOM, summary, round=0)


async def test_a_look_is_told_the_summary_and_older_messages_but_none_that_it_sees_anyway(
    scene: Scene,
) -> None:
    await summarise(scene, "They plan a release.")
    memory = Memory([recalled("hello", "m1", scene.now), recalled("on friday", "m0", scene.now)])
    found = await told(scene, memory)
    assert found["summary"] == "They plan a release."
    assert [each["text"] for each in found["older_messages"]] == ["on friday"]
    assert memory.asked == [("hello", ROOM)]  # for this channel's eyes


async def test_a_memory_that_is_away_costs_the_look_nothing_else(scene: Scene) -> None:
    memory = Memory()
    memory.broken = True
    assert await told(scene, memory) == {}
    memory.off = "no graph is set"
    assert await told(scene, memory) == {}
    assert len(memory.asked) == 1
