"""What a user's ``[celery]`` table does to our settings."""

from __future__ import annotations

import pytest

from nightshift import bootstrap
from nightshift.settings import load_settings
from workers.app import celery_settings


def test_one_transport_option_of_the_users_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given = load_settings(celery={"broker_transport_options": {"visibility_timeout": 7200}})
    monkeypatch.setattr(bootstrap, "settings", lambda: given)
    options = celery_settings()["broker_transport_options"]
    assert options["visibility_timeout"] == 7200
    assert options["global_keyprefix"]


def test_a_setting_of_the_users_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    given = load_settings(celery={"worker_concurrency": 7})
    monkeypatch.setattr(bootstrap, "settings", lambda: given)
    assert celery_settings()["worker_concurrency"] == 7
