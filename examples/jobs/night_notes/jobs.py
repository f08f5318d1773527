"""The jobs: what each does when its time comes, and when that is."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from night_notes import notes
from tasks.job import (
    Job,
    Misfire,
    Need,
    Outcome,
    Run,
    always,
    ask,
    carried_out_as_run,
    cron,
    done,
    every,
    load_prompt,
    skipped,
)


class Verdict(BaseModel):
    clear: bool
    why: str


@carried_out_as_run
async def archive_notes(run: Run) -> Outcome:
    """Put away the notes that nobody has touched for a month."""
    return done(archived=notes.archive_old(notes.notes_folder(), now=run.started_at))


@carried_out_as_run
async def judge_notes(run: Run) -> Outcome:
    """Have a model say of each new note whether it will be understood in a year."""
    waiting = notes.unjudged(notes.notes_folder())
    if not waiting:
        return skipped("every note has its verdict")
    prompt = load_prompt("night_notes", "judge_note")
    for note, text in waiting.items():
        answer = await ask(run, "judge", prompt.about(note=text), schema=Verdict)
        # Kept one by one, so that the next attempt pays for none of them again.
        notes.keep_verdict(note, f"{'clear' if answer.value.clear else 'unclear'}: {answer.value.why}\n")
    return done(judged=len(waiting), prompt=prompt.version)


JOBS = (
    Job(
        "archive_notes",
        archive_notes,
        when=cron("30 3 * * *", "Europe/Berlin"),
        first_run_after=timedelta(0),
        queue="io",
        needs=(),
        only_if=always,
        late=Misfire.RUN_LATEST,
    ),
    Job(
        "judge_notes",
        judge_notes,
        when=every(hours=6),
        first_run_after=timedelta(minutes=10),
        queue="memory",  # one of those that close while nobody may ask a model
        needs=(Need.CHAT_LLM,),
        only_if=always,
        late=Misfire.RUN_LATEST,
    ),
)
