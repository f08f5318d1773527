from __future__ import annotations

from datetime import timedelta

from nightshift.deliveries.shadow_report import read_report
from nightshift.runs.states import done
from tests.nightshift.deliveries.conftest import OTHER, ROOM, Post
from tests.nightshift.runs.model import request


async def test_a_report_tells_what_would_have_been_said_to_whom_and_what_the_day_cost(post: Post) -> None:
    yesterday = post.clock.now.date()
    post.clock.now = post.clock.now.replace(hour=0)
    await post.ask("said aloud, before shadow")
    await post.work()
    forgotten = await post.ask("forgotten", number=9)
    await post.deliveries.suppress(forgotten.id, "forgotten")
    await post.switches.set("shadow", on=True)
    await post.ask("at midnight", number=1)
    await post.ask("to another", number=2, channel=OTHER)
    run = request("digest", post.clock.now)
    await post.ledger.record(run)
    claimed = await post.ledger.claim(run.id, worker="w", message="m")
    assert not isinstance(claimed, str)
    await post.ledger.settle(run.id, claimed.token, done(), cost=1_500)
    post.clock.now += timedelta(hours=23, minutes=59)
    await post.ask("last thing", number=3)
    post.clock.move(minutes=1)
    await post.ask("the day after", number=4)

    report = await read_report(post.deliveries, post.ledger, yesterday)
    assert [each.text for each in report.said] == ["at midnight", "to another", "last thing"]
    assert report.by_channel == {ROOM: 2, OTHER: 1}
    assert report.facts == {
        "day": "2026-11-20",
        "would_have_said": 3,
        "channels": 2,
        "spent_micro_usd": 1_500,
    }
    today = await read_report(post.deliveries, post.ledger, post.clock.now.date())
    assert (today.times, today.cost) == (1, 0)
