"""Every row of the table, held against the code it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beat_schedule import JOBS
from nightshift.controls.switches import KNOWN, SwitchBoard
from nightshift.deployment import process_settings
from nightshift.jobs.row import Job, Need
from nightshift.jobs.table import resolve
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.settings import Settings
from nightshift.time.cadence import cadence_from
from workers.queues import CELERY_QUEUES
from workers.roles import ROLES

ALL_ON = SwitchBoard(dict.fromkeys(KNOWN, True), {})


@pytest.fixture
def worker_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The app as a worker has it."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    process_settings.cache_clear()
    from workers.app import app  # reads the settings

    app.finalize()
    yield app
    process_settings.cache_clear()


each_row = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


@each_row
def test_a_worker_knows_the_task_of_every_row(job: Job, worker_app: Any) -> None:
    assert worker_app.tasks[job.task.name].name == job.task.name


@each_row
def test_a_rows_task_needs_nothing_but_the_id_of_its_run(job: Job, worker_app: Any) -> None:
    body = inspect.signature(worker_app.tasks[job.task.name].run)

    body.bind(*(["job:a@2026-11-20T12:00:00Z"] if job.recorded else []))


@each_row
def test_a_row_names_a_queue_that_some_role_works_on(job: Job) -> None:
    assert [role.name for role in ROLES if job.queue in role.queues and role.name != "all"]


@each_row
def test_a_row_says_in_words_when_it_runs_and_its_cadence_survives_being_stored(job: Job) -> None:
    assert job.when.describe()
    assert cadence_from(job.when.to_spec()) == job.when


@each_row
def test_a_rows_switch_has_a_first_value_among_the_settings(job: Job) -> None:
    switch = job.only_if.switch
    assert switch is None or (switch in KNOWN and switch in Settings.model_fields)


@each_row
def test_a_row_is_on_when_all_it_needs_is_there_and_off_without_any_one_of_it(job: Job) -> None:
    def is_on(missing: Any, board: SwitchBoard) -> bool:
        return {row.name: row.on for row in resolve(JOBS, {}).statuses(missing, board)}[job.name]

    assert is_on({}, ALL_ON)
    assert not any(is_on({need: "not there"}, ALL_ON) for need in job.needs)
    if job.only_if.switch:
        assert not is_on({}, SwitchBoard({**ALL_ON.on, job.only_if.switch: False}, {}))


def test_a_row_that_asks_a_model_needs_one_and_may_not_do_so_from_a_queue_for_pure_graph_work() -> None:
    assert [
        job.name for job in JOBS if Need.CHAT_LLM in job.needs and job.queue in ("graph", "control")
    ] == []


def test_each_row_stands_there_once() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)


def test_only_the_pulse_is_published_rather_than_recorded() -> None:
    assert [job.name for job in JOBS if not job.recorded] == ["pulse"]


def test_every_queue_is_worked_on_by_a_role_of_its_own_and_in_the_small_profile() -> None:
    dedicated = [queue for role in ROLES if role.name != "all" for queue in role.queues]
    (everything,) = (role.queues for role in ROLES if role.name == "all")

    assert sorted(dedicated) == sorted(everything) == sorted(QUEUE_NAMES)
    assert {queue.name for queue in CELERY_QUEUES} == QUEUE_NAMES
