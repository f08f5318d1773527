from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from nightshift.base.instants import to_ms
from nightshift.runs.row import RunRow, run_id
from nightshift.runs.states import State
from nightshift.status.upcoming import Upcoming
from nightshift.web.console.timeline import LANES, lay_out

REACH = (timedelta(minutes=45), timedelta(minutes=15))


def row(source: str, began: datetime, ended: datetime | None, state: State = State.DONE) -> RunRow:
    facts = {
        "id": run_id(source, began),
        "source": source,
        "state": state,
        "nominal": to_ms(began),
        "ready": to_ms(began),
        "created": to_ms(began),
        "started": to_ms(began),
        "deadline_ms": 1000,
        "attempts": 0,
        "retries": 0,
        "token": 1,
        "payload": "null",
        **dict.fromkeys(("task", "queue", "reason", "lane", "tenant", "agent"), ""),
    }
    if ended:
        facts["ended"] = to_ms(ended)
    return RunRow.from_hash({name: str(value) for name, value in facts.items()})


@pytest.mark.parametrize(
    ("began", "ended", "left", "width"),
    [
        (-45, -30, 0, 25),  # from the very start
        (-60, -30, 0, 25),  # it began before
        (-15, None, 50, 25),  # it still runs: up to now
        (-15, -15, 50, 0),  # so short that it is a dot
    ],
)
def test_a_run_lies_where_it_was_carried_out(
    now: datetime, began: int, ended: int | None, left: float, width: float
) -> None:
    run = row("news", now + timedelta(minutes=began), now + timedelta(minutes=ended) if ended else None)
    (lane,) = lay_out([run], [], now=now, reach=REACH).lanes
    (mark,) = lane.marks
    assert (mark.left, mark.width, mark.run) == (left, width, run.id)


def test_what_ended_before_the_line_begins_is_not_on_it(now: datetime) -> None:
    old = row("news", now - timedelta(hours=2), now - timedelta(hours=1))
    assert lay_out([old], [], now=now, reach=REACH).lanes == []


def test_what_comes_lies_ahead_of_now_and_what_is_too_far_ahead_does_not(now: datetime) -> None:
    coming = [Upcoming(now + timedelta(minutes=m), "job:news") for m in (5, 30)]
    line = lay_out([], coming, now=now, reach=REACH)
    (lane,) = line.lanes
    assert [(mark.kind, mark.left) for mark in lane.marks] == [("coming", round(50 / 60 * 100, 2))]
    assert line.now == 75


def test_the_sources_that_changed_last_have_the_room_and_the_others_are_counted(now: datetime) -> None:
    runs = [
        row(f"s{n:02}", now - timedelta(minutes=n + 1), now - timedelta(minutes=n)) for n in range(LANES + 3)
    ]
    line = lay_out(runs, [], now=now, reach=REACH)
    assert [lane.source for lane in line.lanes] == [f"s{n:02}" for n in range(LANES)]
    assert line.hidden == 3
