from __future__ import annotations

from datetime import timedelta

from nightshift.time.cadence import cron, every
from nightshift.time.jitter import jitter, start_delay

HOUR = timedelta(hours=1)


def test_jitter_is_the_same_in_every_process() -> None:
    assert jitter("digest-of-room-7", HOUR) == timedelta(seconds=557, microseconds=37642)


def test_jitter_is_never_negative_and_spreads_over_all_that_is_allowed() -> None:
    delays = sorted(jitter(f"schedule-{n}", HOUR) for n in range(1000))
    assert timedelta(0) <= delays[0] < HOUR / 100
    assert HOUR * 0.45 < delays[500] < HOUR * 0.55
    assert HOUR * 0.99 < delays[-1] <= HOUR
    assert jitter("any", timedelta(0)) == timedelta(0)


def test_who_named_the_time_of_day_gets_no_delay() -> None:
    assert start_delay(cron("0 9 * * *", "Europe/Berlin"), "a", HOUR) == timedelta(0)
    assert start_delay(cron("0 * * * *", "Europe/Berlin"), "a", HOUR) == jitter("a", HOUR) > timedelta(0)
    assert start_delay(every(hours=24), "a", HOUR) == jitter("a", HOUR)
