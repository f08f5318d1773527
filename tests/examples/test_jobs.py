"""Packages that bring jobs: the example and what the pages show, installed beside a real beat and worker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from nightshift.runs.row import RunRow
from nightshift.simulator import SimulatedModel, SimulatedModelOptions, simulated_model
from tests.examples.conftest import EXAMPLES
from tests.faults.deployment import CHECKOUT, SETTINGS, Deployment, until

UV = CHECKOUT / ".tools" / "bin" / "uv"
PAGES = CHECKOUT / "docs" / "how-to"
MONTH = timedelta(days=31).total_seconds()

#: What the page about models takes for granted: the rest of the package, and a row.
OF_THE_PAGES = {
    "__init__.py": "",
    "plants.py": "async def water_dry(now): return 3",
    "diary.py": "def page_of(day): return f'{day:%A}: all is well.'",
    "judge_page.v1.md": "Is this page tidy?",
    "rows.py": """
        from datetime import timedelta
        from my_package.judging import judge_page
        from tasks.job import Job, Misfire, Need, always, every
        WHEN = every(hours=1), timedelta(hours=1)
        JOBS = Job("judge_page", judge_page, *WHEN, "memory", (Need.CHAT_LLM,), always, Misfire.SKIP)
    """,
}


def examples(page: str, language: str) -> list[str]:
    found = re.findall(
        rf"^( *)```{language}\n(.*?)\n\1```", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return [dedent(example) for _, example in found]


def install_example(site: Path) -> None:
    """Install examples/jobs as anybody would, but for what it stands on, which is here."""
    into = ["--offline", "--no-deps", "--python", sys.executable, "--target", str(site)]
    subprocess.run([UV, "pip", "install", "--quiet", *into, EXAMPLES / "jobs"], check=True)


def install_pages(site: Path) -> None:
    """Install what the pages show as one package."""
    (of_jobs,), (of_models,) = examples("jobs.md", "python"), examples("models.md", "python")
    package = site / "my_package"
    package.mkdir()
    for name, text in {**OF_THE_PAGES, "jobs.py": of_jobs, "judging.py": of_models}.items():
        (package / name).write_text(dedent(text))
    about = site / "my_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (announced,) = (each for each in examples("jobs.md", "toml") if "entry-points" in each)
    rows = announced.replace("project.entry-points.", "").replace('"', "")
    (about / "entry_points.txt").write_text(f"{rows}\npages = my_package.rows:JOBS\n")


@dataclass
class WithPackages(Deployment):
    """A deployment that has both packages, the folder of notes, and a simulated model."""

    site: Path = field(kw_only=True)
    notes: Path = field(kw_only=True)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(self.site), "NOTES": str(self.notes)}

    async def nightshift(self, *words: str) -> Any:
        """The JSON that the command line answers with."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nightshift.cli", *words, "--json"),
            cwd=CHECKOUT,
            env=os.environ | self.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        return json.loads(said)

    async def run_job(self, name: str) -> RunRow:
        run = await self.nightshift("jobs", "run", name, "--wait")
        return await self.ledger.get(run["id"])


@pytest.fixture
async def model() -> AsyncIterator[SimulatedModel]:
    options = SimulatedModelOptions(values={"clear": [True], "tidy": [True], "why": ["It names no day."]})
    async with simulated_model(options) as model:
        yield model


@pytest.fixture
async def deployment(model: SimulatedModel) -> AsyncIterator[WithPackages]:
    if not UV.exists():
        pytest.skip(f"{UV} is missing: run `make test`, which makes it")
    settings = f'{SETTINGS}\n[model]\nurl = "{model.url}"\nname = "flash-simulated"\n'
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        home, site, notes = (Path(folder) / name for name in ("home", "site", "notes"))
        for made in (home, site, notes):
            made.mkdir()
        await asyncio.to_thread(install_example, site)
        install_pages(site)
        async with WithPackages(home, settings, site=site, notes=notes) as deployment:
            await deployment.start_redis()
            async with asyncio.TaskGroup() as starting:
                starting.create_task(deployment.start_worker("all", "control,io,memory"))
                starting.create_task(deployment.start_beat())
            yield deployment


async def test_jobs_that_packages_bring_are_listed_and_carried_out(deployment: WithPackages) -> None:
    old, new = deployment.notes / "old.md", deployment.notes / "new.md"
    for note in (old, new):
        note.write_text("Ask Ann about the boat.")
    os.utime(old, (time.time() - MONTH,) * 2)

    async def listed() -> bool:
        return {"archive_notes", "judge_notes", "water_plants", "judge_page"} <= {
            job["name"] for job in await deployment.nightshift("jobs") if job["on"]
        }

    await until(listed, 30, "the rows of both packages are listed")

    archived = await deployment.run_job("archive_notes")
    judged = await deployment.run_job("judge_notes")
    again = await deployment.run_job("judge_notes")
    watered = await deployment.run_job("water_plants")
    page = await deployment.run_job("judge_page")

    assert (archived.state, archived.result) == ("done", {"archived": 1})
    assert (deployment.notes / "archive" / "old.md").exists()
    assert (judged.state, judged.result) == ("done", {"judged": 1, "prompt": "judge_note.v1"})
    assert new.with_suffix(".verdict").read_text() == "clear: It names no day.\n"
    assert judged.cost > 0
    assert (again.state, again.reason) == ("skipped", "every note has its verdict")
    assert (watered.state, watered.result) == ("done", {"watered": 3})
    assert (page.state, page.result) == ("done", {"tidy": True, "prompt": "judge_page.v1"})
    assert page.cost > 0
