"""A folder of notes: which are old, and which nobody has judged. Knows nothing of nightshift."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

OLD = timedelta(days=30)


def notes_folder() -> Path:
    """Where the notes are: what ``NOTES`` says in the environment, or ``notes``."""
    return Path(os.environ.get("NOTES", "notes"))


def archive_old(folder: Path, now: datetime) -> int:
    """Move every note that nobody has touched for a month into ``archive``; return how many."""
    archive = folder / "archive"
    archive.mkdir(parents=True, exist_ok=True)
    touched_before = (now - OLD).timestamp()
    old = [note for note in folder.glob("*.md") if note.stat().st_mtime < touched_before]
    for note in old:
        note.rename(archive / note.name)
    return len(old)


def unjudged(folder: Path) -> dict[Path, str]:
    """The notes without a verdict, and what they say."""
    notes = sorted(folder.glob("*.md"))
    return {note: note.read_text() for note in notes if not _verdict(note).exists()}


def keep_verdict(note: Path, verdict: str) -> None:
    """Write beside the note what was said of it."""
    _verdict(note).write_text(verdict)


def _verdict(note: Path) -> Path:
    return note.with_suffix(".verdict")
