"""What a user's ``[celery]`` table does to our settings."""

from __future__ import annotations

from nightshift.settings import load_settings
from workers.app import celery_settings


def test_one_transport_option_of_the_users_leaves_the_others() -> None:
    given = load_settings(celery={"broker_transport_options": {"visibility_timeout": 7200}})
    options = celery_settings(given)["broker_transport_options"]
    assert options["visibility_timeout"] == 7200
    assert options["global_keyprefix"]


def test_a_setting_of_the_users_wins() -> None:
    given = load_settings(celery={"worker_concurrency": 7})
    assert celery_settings(given)["worker_concurrency"] == 7


def test_whoever_shares_a_database_has_keys_of_its_own() -> None:
    found = celery_settings(load_settings(key_root="other"))
    assert found["broker_transport_options"]["global_keyprefix"] == "other-broker:"
    assert found["redbeat_key_prefix"] == "other:{s0}:beat:"
