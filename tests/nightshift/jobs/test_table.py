"""The table as it applies: rows, packages' rows, nightshift.toml over both, and why a row is off."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nightshift.base.errors import BadSetting, UnknownJob
from nightshift.controls.switches import KNOWN, SwitchBoard
from nightshift.jobs.row import Job, Need, flag
from nightshift.jobs.settings import JobOverride
from nightshift.jobs.table import JobStatus, Rows, read_job, read_table, resolve, store_table
from nightshift.store.keys import Keys
from nightshift.time.cadence import cron, every
from nightshift.time.misfire import Misfire
from tests.nightshift.jobs.conftest import MakeJob

ALL_ON = SwitchBoard(dict.fromkeys(KNOWN, True), {})
InstallPackage = Callable[..., None]


@pytest.fixture
def install_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstallPackage]:
    """``install_package("moon", "ROWS = ...")``: its ROWS become an entry point named after it."""
    installed = []

    def install(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[nightshift.jobs]\n{name} = {name}:ROWS\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        installed.append(name)

    yield install
    for name in installed:
        sys.modules.pop(name, None)


def why(rows: Rows, missing: dict[Need, str] | None = None, board: SwitchBoard = ALL_ON) -> dict[str, str]:
    return {row.name: row.why for row in rows.statuses(missing or {}, board)}


# nightshift.toml


def test_an_override_changes_when_a_job_runs_and_nothing_else(job: MakeJob) -> None:
    over = JobOverride(every=90, first_run_after=5, late="skip")

    changed = resolve([job(), job("other")], {"tidy": over}).jobs

    assert changed["tidy"] == job(
        when=every(seconds=90), first_run_after=timedelta(seconds=5), late=Misfire.SKIP
    )
    assert changed["other"] == job("other")


def test_an_override_may_name_times_of_day_in_a_zone(job: MakeJob) -> None:
    rows = resolve([job()], {"tidy": JobOverride(cron="30 3 * * *", zone="Europe/Berlin")})

    assert rows.jobs["tidy"].when == cron("30 3 * * *", "Europe/Berlin")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (JobOverride(cron="0 0 31 2 *"), "31"),  # a day February never has
        (JobOverride(cron="* * * * * *"), "fields"),  # seconds
        (JobOverride(cron="0 3 * * *", zone="Europe/Berln"), "Europe/Berlin"),  # a typo in the zone
        (JobOverride(every=0.5), "whole seconds"),
        (JobOverride(every=math.inf), "infinity"),
        (JobOverride(every=60, cron="0 3 * * *"), "both"),
    ],
)
def test_an_override_that_cannot_be_kept_turns_its_row_off_and_no_other(
    job: MakeJob, override: JobOverride, reason: str
) -> None:
    found = why(resolve([job(), job("other")], {"tidy": override}))

    assert "[jobs.tidy] in nightshift.toml cannot be kept" in found["tidy"]
    assert reason in found["tidy"]
    assert found["other"] == ""


def test_an_override_of_a_job_that_is_not_there_is_refused_with_the_nearest_name(job: MakeJob) -> None:
    with pytest.raises(BadSetting, match=r"\[jobs.tidi\] .* did you mean \[jobs.tidy\]\?"):
        resolve([job()], {"tidi": JobOverride(on=False)})


def test_a_table_that_names_a_job_twice_is_refused(job: MakeJob) -> None:
    with pytest.raises(BadSetting, match="'tidy' stands in the table twice"):
        resolve([job(), job()], {})


# Packages

ROW = """
from datetime import timedelta
from types import SimpleNamespace

from nightshift.jobs.row import Job, always
from nightshift.time.cadence import every
from nightshift.time.misfire import Misfire

def row(name):
    task = SimpleNamespace(name="moon.watch")
    return Job(name, task, every(hours=1), timedelta(0), "io", (), always, Misfire.SKIP)
"""


def test_an_installed_package_brings_rows_that_can_be_overridden_like_any_other(
    job: MakeJob, install_package: InstallPackage
) -> None:
    install_package("moon", ROW + "ROWS = (row('tide'), row('eclipse'))")
    install_package("sun", ROW + "ROWS = row('noon')")

    rows = resolve([job()], {"tide": JobOverride(every=60)})

    assert set(rows.jobs) == {"tidy", "tide", "eclipse", "noon"}
    assert rows.jobs["tide"].when == every(minutes=1)
    assert not any(why(rows).values())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no moon today')", "RuntimeError: no moon today"),  # fails at import
        ("RAWS = ()", "AttributeError"),  # has not what it names
        ("ROWS = ['tide']", "'tide' is no Job"),
        ("ROWS = None", "TypeError"),
        (ROW + "ROWS = (row('tide'), row('tidy'))", "job 'tidy' stands in the table twice"),  # takes a name
    ],
)
def test_a_package_that_fails_brings_nothing_and_its_failure_stands_in_the_table(
    job: MakeJob, install_package: InstallPackage, source: str, reason: str
) -> None:
    install_package("tidy", source)  # called like a row of ours, which must not suffer for it

    rows = resolve([job()], {})

    assert dict(rows.jobs) == {"tidy": job()}
    found = why(rows)
    assert found["tidy"] == ""
    assert reason in found["entry point tidy"]


def test_an_override_for_a_row_of_a_package_that_fails_is_reported_rather_than_refused(
    job: MakeJob, install_package: InstallPackage
) -> None:
    install_package("moon", "raise RuntimeError('no moon today')")

    found = why(resolve([job()], {"tide": JobOverride(every=60)}))

    assert "[jobs.tide] in nightshift.toml names no job" in found["tide"]
    assert found["tidy"] == ""


# On or off


def test_a_row_is_off_with_the_reason_while_its_switch_is_off_or_a_need_is_missing(job: MakeJob) -> None:
    rows = resolve(
        [job("probe", only_if=flag("model_probe")), job("census", needs=(Need.REDIS, Need.GRAPH)), job()],
        {"tidy": JobOverride(on=False)},
    )
    board = SwitchBoard(dict.fromkeys(KNOWN, False), {"census": "ada"})

    assert why(rows, {Need.GRAPH: "no graph is set"}) == {
        "probe": "",
        "census": "needs GRAPH: no graph is set",
        "tidy": "nightshift.toml says [jobs.tidy] on = false",
    }
    assert why(rows, {Need.GRAPH: "no graph is set"}, board) == {
        "probe": "switch model_probe is off",
        "census": "paused by ada; `nightshift jobs resume census`",
        "tidy": "nightshift.toml says [jobs.tidy] on = false",
    }


def test_a_row_cannot_name_a_queue_or_a_switch_that_does_not_exist(job: MakeJob) -> None:
    with pytest.raises(ValueError, match=r"'tidy' names queue 'oi'; there are .*io"):
        job(queue="oi")
    with pytest.raises(ValueError, match=r"switch 'model_prob' is not known; known ones: .*model_probe"):
        flag("model_prob")


# Stored


async def test_the_table_is_read_as_it_was_stored_last(redis: Redis, keys: Keys, job: MakeJob) -> None:
    async def store(*jobs: Job) -> list[JobStatus]:
        table = resolve(jobs, {}).statuses({Need.GRAPH: "no graph is set"}, ALL_ON)
        async with redis.pipeline() as changes:
            store_table(changes, keys, table)
            await changes.execute()
        return table

    await store(job("gone"), job())
    census, tidy = await store(job("census", needs=(Need.GRAPH,)), job())

    assert await read_table(redis, keys) == [census, tidy]
    assert await read_job(redis, keys, "census") == census
    with pytest.raises(UnknownJob, match="'gone'; there are census, tidy"):
        await read_job(redis, keys, "gone")


async def test_before_beats_first_shift_the_table_is_empty_and_says_so(redis: Redis, keys: Keys) -> None:
    assert await read_table(redis, keys) == []
    with pytest.raises(UnknownJob, match="is beat running"):
        await read_job(redis, keys, "tidy")
