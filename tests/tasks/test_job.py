"""The door for those who bring jobs: what it offers, how light it is, and who pays for what is asked."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from redis.asyncio import Redis

from nightshift.base.home import CHECKOUT
from nightshift.deployment import close_deployment, deployment, process_settings
from nightshift.money.costs import read_books
from nightshift.money.payer import Level
from nightshift.simulator import SimulatedModel, simulated_model
from nightshift.store.keys import Keys
from tasks import job
from tasks.job import Occasion, OutOfBudget, PromptMessage, Run, ask, embed
from tests.nightshift.cli.conftest import Stage, broker, here, keys, redis, settled, stage

__all__ = ["broker", "here", "keys", "redis", "settled", "stage"]

OFFERED = """
    Job Need Misfire Overlap always flag every cron
    Run carried_out_as_run Outcome done skipped failed
    ask embed Use Answer Embeddings Occasion Prompt PromptMessage load_prompt
    NightshiftError LostLease
    TransientError RateLimited Overloaded NotReached OutOfBudget Frozen StoreUnreachable
    PermanentError BadAnswer BadKeys BadRequest RefusedByModel Truncated OverRunCap BadSchedule NotPossible
"""

PAGES = [
    *(CHECKOUT / "docs" / "how-to" / name for name in ("jobs.md", "models.md")),
    *(CHECKOUT / "examples" / "jobs").rglob("*.py"),
]


def test_the_door_offers_these_names_and_no_other() -> None:
    assert sorted(job.__all__) == sorted(OFFERED.split())
    assert [name for name in job.__all__ if not hasattr(job, name)] == []


def test_every_error_that_the_page_about_models_names_can_be_caught() -> None:
    page = (CHECKOUT / "docs" / "how-to" / "models.md").read_text()
    _, table = page.split("| what happens | error | the run |\n| --- | --- | --- |\n")
    rows = table.split("\n\n")[0].splitlines()
    named = {error for row in rows for error in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert named
    assert named <= set(job.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_what_we_show_job_authors_imports_nothing_of_ours_but_the_door(page: Path) -> None:
    text = page.read_text()
    sources = [text] if page.suffix == ".py" else re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    modules = {
        node.module
        for source in sources
        for node in ast.walk(ast.parse(dedent(source)))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert {name for name in modules if name.split(".")[0] in ("nightshift", "tasks", "workers")} <= {
        "tasks.job"
    }


def test_whoever_imports_the_door_loads_no_model_client_and_no_list_of_prices() -> None:
    slow = {"openai", "genai_prices", "falkordb", "fastapi"}
    code = f"import tasks.job, sys; print(*{slow} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == []


# Asking a model


QUESTION = (PromptMessage("user", "Is it tidy?"),)


@pytest.fixture
async def model(settled: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SimulatedModel]:
    """A simulated model, which the settings of this process name."""
    async with simulated_model() as model:
        monkeypatch.setenv("NIGHTSHIFT_MODEL__URL", model.url)
        monkeypatch.setenv("NIGHTSHIFT_MODEL__NAME", "flash-simulated")
        process_settings.cache_clear()
        yield model
        await close_deployment()


@pytest.fixture
async def run(model: SimulatedModel, stage: Stage) -> Run:
    """A run of the job ``tidy`` that is being carried out."""
    return Run(await stage.claim(await stage.run("job:tidy")), stage.ledger)


async def test_what_a_run_asks_is_paid_by_it_and_its_job(run: Run, redis: Redis, keys: Keys) -> None:
    answer = await ask(run, "judge", QUESTION)
    vectors = await embed(run, ["tidy", "untidy"])

    assert answer.value.startswith("[simulated]")
    assert len(vectors.vectors) == 2
    assert run.cost == answer.cost + vectors.cost > 0
    day = run.started_at.date()
    books = await read_books(redis, keys, (day, day + timedelta(days=1)))
    assert sum(book[Level.JOB, "tidy"].cost for book in books if book) == run.cost


async def test_a_run_may_ask_on_a_lesser_occasion_and_gives_way_to_others(run: Run) -> None:
    caps = deployment().money.caps
    await caps.set(Level.DAY, "", 0, by="ann")
    with pytest.raises(OutOfBudget) as refused:
        await ask(run, "judge", QUESTION)
    await caps.set(Level.DAY, "", refused.value.needs, by="ann")

    with pytest.raises(OutOfBudget):
        await ask(run, "judge", QUESTION, occasion=Occasion.MEMORY)
    await ask(run, "judge", QUESTION)
