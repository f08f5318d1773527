"""The small profile in containers: closed to the network, hardened, its secrets in files."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import yaml

import nightshift
from nightshift.base.home import PREFIX
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.settings import Settings
from tests.deploy.commands import refusal
from tests.deploy.manifests import DEPLOY
from workers.app import celery_settings
from workers.roles import BY_NAME

TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "nightshift:" in service["image"]}


@pytest.fixture(params=SERVICES.values(), ids=list(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_ports_are_published_on_the_loopback_interface_only() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", ())}
    assert published.keys() == {"web", "flower"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())


def test_a_container_may_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert "mem_limit" in service
    assert "healthcheck" in service
    assert "privileged" not in service


def test_images_are_pinned(service: dict[str, Any]) -> None:
    tag = _defaulted(service["image"]).partition(":")[2]
    assert tag.count(".") == 2


def test_the_image_is_this_version() -> None:
    assert {_defaulted(each["image"]) for each in OURS.values()} == {f"nightshift:{nightshift.__version__}"}


def test_every_process_is_one_the_command_line_knows_and_every_queue_is_consumed() -> None:
    assert {name: refusal(each["command"]) for name, each in OURS.items()} == dict.fromkeys(OURS)
    role = SERVICES["worker"]["command"][-1]
    assert set(BY_NAME[role].queues) == QUEUE_NAMES


def test_a_stopping_container_is_given_longer_than_its_runs_are() -> None:
    soft = timedelta(seconds=celery_settings(Settings())["worker_soft_shutdown_timeout"])
    for each in OURS.values():
        assert timedelta(seconds=int(each["stop_grace_period"].removesuffix("s"))) > soft + timedelta(
            seconds=15
        )


def test_settings_that_containers_are_given_exist_and_hold_no_secret() -> None:
    named = {name for each in OURS.values() for name in each["environment"]}
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    fields = {name.removeprefix(PREFIX).lower() for name in named}
    assert fields <= Settings.model_fields.keys() - secret


def test_secrets_are_files_that_are_made_and_each_names_a_setting() -> None:
    made = re.findall(r"^make_once (\S+)", (DEPLOY / "make-secrets").read_text(), re.M)
    assert {secret["file"] for secret in COMPOSE["secrets"].values()} == {f"secrets/{name}" for name in made}
    used = {name for service in SERVICES.values() for name in service["secrets"]}
    assert used == COMPOSE["secrets"].keys()
    fields = {name.removeprefix(PREFIX.lower()) for name in used if name.startswith(PREFIX.lower())}
    assert fields <= Settings.model_fields.keys()


def test_only_those_that_need_it_are_given_a_password() -> None:
    for secret, holders in {
        "redis_password": {"redis", "falkordb"},
        "nightshift_flower_auth": {"flower"},
        "nightshift_web_token": {"web"},
    }.items():
        assert {name for name, service in SERVICES.items() if secret in service["secrets"]} == holders


def test_what_may_be_set_beside_it_is_what_it_reads() -> None:
    offered = re.findall(r"^(\w+)=", (DEPLOY / ".env.example").read_text(), re.M)
    read = set(re.findall(r"\$\{(\w+)", TEXT))
    assert set(offered) == read | {"COMPOSE_PROFILES"}


def _defaulted(text: str) -> str:
    """What compose makes of ${NAME:-default} when nothing is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
