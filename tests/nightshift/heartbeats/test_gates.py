"""The gates and the plan, as pure functions of what is known."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from nightshift.agents import agent as agents
from nightshift.base.errors import BadSetting
from nightshift.channels.channel import Channel
from nightshift.heartbeats import plan
from nightshift.heartbeats.gates import Gate, Quiet, Snapshot, judge
from nightshift.heartbeats.row import Act, VisitRow
from nightshift.heartbeats.rules import HeartbeatRules, changed
from nightshift.heartbeats.visiting import quiet_hours
from nightshift.settings import Settings
from nightshift.time.zones import zone
from tests.nightshift.heartbeats.scene import ROOM

RULES = HeartbeatRules()
BERLIN = zone("Europe/Berlin")
NIGHT = Quiet(BERLIN, time(22), time(8))


def snapshot(now: datetime, row: dict[str, Any] | None = None, **seen: Any) -> Snapshot:
    """A channel in which nothing is in the way, but for what is said."""
    hour = timedelta(hours=1)
    known: dict[str, Any] = {
        "generation": 1,
        "next_at": now,
        "interval": RULES.interval,
        "adopted_at": now - hour,
        "unchanged": 0,
        "failures": 0,
        "own_failures": 0,
        "deferred": 0,
        "deferred_for": "",
        "digest": "old",
        "thought_at": now - hour,
        "suspended_at": None,
        "starts": (),
        "acts": (),
        "needs": 0,
    }
    facts: dict[str, Any] = {"digest": "new", "last_human_at": now - hour, "quiet": None, **seen}
    return Snapshot(now, VisitRow(**{**known, **(row or {})}), **facts)


def test_every_gate_says_no_in_its_order_and_nothing_in_the_way_lets_pass(now: datetime) -> None:
    now = now.replace(hour=23)
    starts = tuple(now - timedelta(seconds=100 * n) for n in range(5, -1, -1))
    acts = tuple(Act(now - timedelta(hours=n), f"r{n}", (), "") for n in range(4))
    seen = snapshot(
        now,
        {"digest": "new", "starts": starts, "acts": acts, "deferred": 3},
        frozen="f",
        breaker="b",
        adapter="a",
        paused="p",
        last_human_at=now - timedelta(days=7),
        quiet=NIGHT,
        busy="busy",
        budget="broke",
    )
    lifted: list[tuple[Gate, dict[str, Any]]] = [
        (Gate.FROZEN, {"frozen": ""}),
        (Gate.BREAKER, {"breaker": ""}),
        (Gate.ADAPTER, {"adapter": ""}),
        (Gate.PAUSED, {"paused": ""}),
        (Gate.NO_HUMAN, {"last_human_at": now}),
        (Gate.QUIET, {"quiet": None}),
        (
            Gate.SPACING,
            {"row": replace(seen.row, starts=tuple(each - timedelta(seconds=61) for each in starts))},
        ),
        (Gate.FLOOD, {"row": replace(seen.row, starts=())}),
        (Gate.UNCHANGED, {"digest": "newer"}),
        (Gate.ACTS, {"row": replace(seen.row, starts=(), acts=())}),
        (Gate.BUSY, {"busy": ""}),
        (Gate.BUDGET, {"budget": ""}),
    ]
    assert [gate for gate, _ in lifted] == list(Gate)
    for gate, change in lifted:
        verdict = judge(seen, RULES)
        assert (verdict.gate, bool(verdict.value)) == (gate, True)
        seen = replace(seen, **change)
    assert judge(seen, RULES).passes


def test_who_asks_by_hand_waits_for_no_person_no_morning_and_no_news_but_keeps_the_distance(
    now: datetime,
) -> None:
    now = now.replace(hour=23)
    asked = snapshot(now, {"digest": "new"}, last_human_at=now - timedelta(days=7), quiet=NIGHT, by_hand=True)
    assert judge(asked, RULES).passes
    just_looked = replace(asked, row=replace(asked.row, starts=(now - timedelta(seconds=59),)))
    assert judge(just_looked, RULES).gate is Gate.SPACING


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [
        ("2026-11-20T21:59:59+01:00", False),
        ("2026-11-20T22:00:00+01:00", True),
        ("2026-11-21T00:00:00+01:00", True),
        ("2026-11-21T07:59:59+01:00", True),
        ("2026-11-21T08:00:00+01:00", False),
        # The hour that comes twice, and the one that does not come.
        ("2026-10-25T02:30:00+01:00", True),
        ("2027-03-28T03:00:00+02:00", True),
    ],
)
def test_quiet_hours_reach_over_midnight_in_the_agents_zone(clock: str, quiet: bool) -> None:
    assert NIGHT.covers(datetime.fromisoformat(clock)) is quiet
    assert Quiet(BERLIN, time(12), time(13)).covers(datetime.fromisoformat("2026-11-20T12:30:00+01:00"))


@pytest.mark.parametrize(
    ("clock", "end"),
    [
        ("2026-11-20T23:00:00+01:00", "2026-11-21T08:00:00+01:00"),
        ("2026-11-21T07:00:00+01:00", "2026-11-21T08:00:00+01:00"),
        ("2026-10-24T23:00:00+02:00", "2026-10-25T08:00:00+01:00"),  # the clocks go back meanwhile
    ],
)
def test_after_quiet_hours_visits_are_spread_so_that_no_herd_wakes(clock: str, end: str) -> None:
    now = datetime.fromisoformat(clock)
    seen = snapshot(now, quiet=NIGHT)
    verdict = judge(seen, RULES)
    drawn = [plan.next_visit(verdict, seen, RULES, Random(n)) for n in range(50)]
    wakes = datetime.fromisoformat(end)
    assert all(wakes <= each < wakes + RULES.interval for each in drawn if each)
    assert len(set(drawn)) == 50


def test_a_channels_own_quiet_hours_stand_before_its_agents() -> None:
    described = {"zone": "Europe/Berlin", "quiet_from": "22:00", "quiet_until": "08:00"}
    agent = agents.of(Settings(agents={"default": described}), "default")
    berlin = zone("Europe/Berlin")  # the very one that the rule is given: zones compare by identity
    assert quiet_hours(Channel(ROOM), agent) == Quiet(berlin, time(22), time(8))
    assert quiet_hours(Channel(ROOM, quiet_hours="never"), agent) is None
    assert quiet_hours(Channel(ROOM, quiet_hours="01:00-02:30"), agent) == Quiet(berlin, time(1), time(2, 30))


def test_a_look_ahead_of_now_means_that_the_clock_was_set_back_and_counts_as_long_ago(now: datetime) -> None:
    row = {"digest": "new", "thought_at": now + timedelta(days=400), "starts": (now + timedelta(days=400),)}
    verdict = judge(snapshot(now, row), RULES)
    assert (verdict.passes, verdict.forced) == (True, True)


def test_intervals_vary_and_pauses_after_failures_grow() -> None:
    drawn = [plan.interval(RULES, 0, Random(n)) / RULES.interval for n in range(200)]
    assert 0.9 <= min(drawn) < 0.92
    assert 1.08 < max(drawn) <= 1.1
    pauses = [plan.backoff(RULES, n) for n in range(1, 8)]
    assert all(one <= other for one, other in pairwise(pauses))
    assert pauses[-1] == timedelta(hours=1)


def test_a_rule_that_makes_no_sense_is_refused_by_its_name() -> None:
    with pytest.raises(BadSetting, match=r"'interval'.*greater"):
        changed(RULES, {"interval": timedelta(seconds=1)})
    with pytest.raises(BadSetting, match=r"'intervall'.*known ones: acts_per_day"):
        changed(RULES, {"intervall": 3})
    with pytest.raises(ValidationError):
        HeartbeatRules(defers=-1)


def test_the_rules_of_the_documentation_are_read() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "heartbeats.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.S)
    rules = Settings(**tomllib.loads(example)).heartbeat
    assert (rules.interval, rules.channels, rules.acts_per_day) == (timedelta(hours=1), 200, 2)
    named = set(
        re.findall(r"`([a-z_]+)`", page.read_text().partition("| gate |")[2].partition("## Change")[0])
    )
    assert set(Gate) <= named
