"""Secrets for containers: made once, read as settings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nightshift.access import tokens
from nightshift.settings import Settings
from tests.deploy.manifests import DEPLOY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the script in it."""
    shutil.copy(DEPLOY / "make-secrets", tmp_path)
    return tmp_path


def test_what_it_makes_is_read_as_settings(folder: Path) -> None:
    secrets = _make(folder)
    given = folder / "run"
    given.mkdir()
    for file in secrets.rglob("nightshift_*"):
        shutil.copy(file, given)
    settings = Settings(_secrets_dir=given)
    password = (secrets / "redis" / "redis_password").read_text()
    assert settings.state_url
    assert settings.state_url.get_secret_value() == f"redis://:{password}@redis:6379/0"
    assert settings.web_token
    assert settings.web_token.get_secret_value().startswith(tokens.PREFIX)
    assert settings.model.url is None
    assert not settings.graph_url  # an empty file means that there is none

    (given / "nightshift_model").write_text('{"url": "https://models.example/v1", "key": "hunter2"}')
    model = Settings(_secrets_dir=given).model
    assert model.url == "https://models.example/v1"
    assert model.key
    assert model.key.get_secret_value() == "hunter2"


def test_what_is_there_is_kept(folder: Path) -> None:
    files = [path for path in _make(folder).rglob("*") if path.is_file()]
    before = [path.read_text() for path in files]
    _make(folder)
    assert [path.read_text() for path in files] == before


def test_each_deployment_gets_passwords_of_its_own(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(DEPLOY / "make-secrets", tmp_path / name)
        secrets = _make(tmp_path / name)
        made += [
            (secrets / "redis" / "redis_password").read_text(),
            (secrets / "flower" / "nightshift_flower_auth").read_text().partition(":")[2],
            (secrets / "web" / "nightshift_web_token").read_text(),
        ]
    assert len(set(made)) == len(made)
    assert min(map(len, made)) >= 48


def test_nobody_else_enters_the_folder(folder: Path) -> None:
    assert _make(folder).stat().st_mode & 0o777 == 0o700


def _make(folder: Path) -> Path:
    subprocess.run([folder / "make-secrets"], check=True)
    return folder / "secrets"
