"""What the dependency audit makes of what the database says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parent.parent
SOUND = {"name": "sound", "version": "1.0", "vulns": []}
BROKEN = {"name": "broken", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "told"),
    [
        ([SOUND], 0, "1 of 1 dependencies looked up"),
        ([SOUND, BROKEN], 1, "broken 1.0: PYSEC-1, mended in 1.1"),
        ([SOUND, UNKNOWN], 0, "1 of 2 dependencies looked up"),
        ([UNKNOWN], 0, "NOT AUDITED"),  # a mirror answered, which knows no advisories
        (None, 0, "NOT AUDITED"),  # nobody did
    ],
)
def test_a_known_weakness_fails_and_an_unknown_one_is_not_called_none(
    tmp_path: Path, dependencies: list[dict[str, Any]] | None, code: int, told: str
) -> None:
    answer = json.dumps({"dependencies": dependencies}) if dependencies is not None else "no network"
    (tmp_path / "pip_audit.py").write_text(f"print({answer!r})")
    done = subprocess.run(
        [sys.executable, CHECKOUT / "scripts" / "audit-dependencies"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, told in done.stdout) == (code, True), done.stdout + done.stderr
