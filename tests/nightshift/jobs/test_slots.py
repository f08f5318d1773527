"""A job's grid: laid once, kept over restarts, laid anew only when the cadence changes."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

import pytest

from nightshift.jobs.row import Job
from nightshift.jobs.slots import Announced, announce, request
from nightshift.runs.row import run_id
from nightshift.time.cadence import Cadence, cron, every
from tests.nightshift.jobs.conftest import MakeJob

SECOND = timedelta(seconds=1)
PERIOD = timedelta(minutes=10)


def spec(cadence: Cadence) -> str:
    return json.dumps(cadence.to_spec())


def again(job: Job, before: Announced, now: datetime) -> Announced:
    """What a beat finds that reads what the one before has stored."""
    return announce(job, spec(before.cadence), before.next.timestamp(), now)


def test_a_new_job_first_runs_after_its_first_delay_on_a_whole_second(job: MakeJob, now: datetime) -> None:
    found = announce(job(), None, None, now + timedelta(milliseconds=700))

    assert found.changed
    assert found.next == now + timedelta(minutes=1) + SECOND


def test_a_restart_neither_restarts_the_timer_nor_waits_for_the_first_delay_again(
    job: MakeJob, now: datetime
) -> None:
    first = announce(job(), None, None, now)

    later = again(job(), first, now + timedelta(days=3))

    assert not later.changed
    assert later.next == first.next
    assert later.cadence == first.cadence


def test_a_job_that_was_off_goes_on_at_the_next_slot_of_its_grid(job: MakeJob, now: datetime) -> None:
    first = announce(job(), None, None, now)

    back_on = announce(job(), spec(first.cadence), None, now + timedelta(hours=5))

    assert back_on.changed
    assert back_on.next == first.next + timedelta(hours=5)


def test_a_new_cadence_starts_like_a_new_job_but_no_later_than_the_slot_announced(
    job: MakeJob, now: datetime
) -> None:
    hourly = announce(job(when=every(hours=1), first_run_after=timedelta(hours=1)), None, None, now)

    sooner = again(job(when=every(minutes=5)), hourly, now)
    as_announced = again(job(first_run_after=timedelta(days=1)), hourly, now)

    assert sooner.next == now + timedelta(minutes=1) + SECOND
    assert as_announced.next == hourly.next
    assert sooner.changed
    assert as_announced.changed


def test_a_cron_job_follows_the_clock_and_not_its_first_delay(job: MakeJob, now: datetime) -> None:
    nightly = job(when=cron("30 3 * * *", "UTC"), first_run_after=timedelta(minutes=5))

    assert announce(nightly, None, None, now).next == datetime.fromisoformat("2026-11-21T03:30Z")


@pytest.mark.parametrize(
    "stored",
    [
        "{",  # no JSON
        '"every"',  # JSON, but no cadence
        '{"kind": "lunar"}',  # a cadence nobody knows
        '{"kind": "every", "seconds": 600, "anchor": "soon"}',  # an anchor that is no instant
        "\ufffd\ufffd",  # what bytes that are no text are read as
    ],
)
def test_a_cadence_that_cannot_be_read_is_laid_anew_through_the_slot_announced(
    job: MakeJob, now: datetime, stored: str
) -> None:
    mended = announce(job(), stored, (now + PERIOD).timestamp(), now)

    assert mended.changed
    assert mended.next == now + PERIOD
    assert mended.cadence == every(minutes=10).anchored(now + PERIOD)


@pytest.mark.parametrize("score", [math.inf, -math.inf, 1e300, -1.0])
def test_a_place_in_the_index_that_is_no_instant_is_as_good_as_none(
    job: MakeJob, now: datetime, score: float
) -> None:
    grid = every(minutes=10).anchored(now)

    mended = announce(job(), spec(grid), score, now)

    assert mended.changed
    assert mended.next == now + PERIOD


def test_a_clock_that_was_ahead_for_a_while_does_not_silence_a_job(job: MakeJob, now: datetime) -> None:
    grid = every(minutes=10).anchored(now - PERIOD)
    announced_by_a_clock_a_day_ahead = (now + timedelta(days=1)).timestamp()

    assert announce(job(), spec(grid), announced_by_a_clock_a_day_ahead, now).next == now + PERIOD


def test_a_slot_becomes_a_run_named_by_job_and_slot_in_the_jobs_lane(job: MakeJob, now: datetime) -> None:
    run = request(job(), now)

    assert run.id == run_id("job:tidy", now) == "job:tidy@2026-11-20T12:00:00Z"
    assert run.lane == "job:tidy"
    assert run.ready == now


def test_jitter_puts_off_the_work_but_not_the_slot_and_spares_fixed_times(
    job: MakeJob, now: datetime
) -> None:
    spread = request(job(jitter=PERIOD), now)
    fixed = request(job(jitter=PERIOD, when=cron("0 12 * * *", "UTC")), now)

    assert spread.nominal == now
    assert spread.ready is not None
    assert now < spread.ready < now + PERIOD
    assert spread.ready == request(job(jitter=PERIOD), now).ready
    assert fixed.ready == now
