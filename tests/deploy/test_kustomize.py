"""What Kubernetes is given: valid, hardened, probed, and able to carry out every kind of run."""

from __future__ import annotations

import ipaddress
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

import nightshift
from nightshift.base.home import PREFIX
from nightshift.runs.queues import QUEUE_NAMES
from nightshift.settings import Settings, load_settings
from tests.deploy.commands import refusal
from tests.deploy.manifests import (
    KUBECTL,
    KUSTOMIZE,
    ROOTS,
    Object,
    container,
    labels,
    pod,
    read,
    render,
    runs_nightshift,
    workloads,
)
from workers.app import celery_settings
from workers.roles import BY_NAME, ROLES

METADATA = (ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"))
#: Between the end of the soft shutdown and the kill: handing back, goodbyes, closing connections.
MARGIN = timedelta(seconds=15)
CHECKOUT = KUSTOMIZE.parent.parent
FILES = sorted(KUSTOMIZE.rglob("*.yaml"))


@pytest.fixture(params=ROOTS.values(), ids=list(ROOTS))
def root(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def objects(root: Path) -> list[Object]:
    """What is applied; without kubectl, what can be read from the files."""
    return render(root) if KUBECTL else read(root)


@pytest.fixture
def kubectl() -> None:
    """Skips where nothing can be rendered."""
    if not KUBECTL:
        pytest.skip("kubectl is missing, so nothing is rendered: names, selectors and schemas go UNCHECKED")


@pytest.fixture
def rendered(root: Path, kubectl: None) -> list[Object]:
    return render(root)


@pytest.fixture
def ours(objects: list[Object]) -> list[Object]:
    """The Deployments that run the image."""
    found = [each for each in workloads(objects) if runs_nightshift(each)]
    assert found
    return found


# What is run


def test_every_queue_is_consumed_by_some_worker(ours: list[Object]) -> None:
    assert {queue for role in _roles(ours) for queue in BY_NAME[role].queues} == QUEUE_NAMES


def test_each_role_has_a_deployment_of_its_own_in_the_base_and_one_worker_does_it_all_in_small() -> None:
    base, small = (read(ROOTS[name]) for name in ("base", "small"))
    assert sorted(_roles(workloads(base))) == sorted(role.name for role in ROLES if role.name != "all")
    assert _roles(workloads(small)) == ["all"]


def test_each_deployment_runs_a_command_that_the_command_line_knows(ours: list[Object]) -> None:
    for each in ours:
        assert refusal([word.replace("$(ROLE)", "all") for word in container(each)["args"]]) is None


def test_beat_web_and_flower_are_there_and_a_second_beat_stands_by_in_the_base(
    root: Path, rendered: list[Object]
) -> None:
    replicas = {each["metadata"]["name"]: each["spec"].get("replicas", 1) for each in workloads(rendered)}
    assert {"beat", "web", "flower"} <= replicas.keys()
    assert replicas["beat"] == (2 if root.name == "base" else 1)
    assert replicas.get("worker-control", 2) == 2


def test_settings_that_pods_are_given_exist(
    ours: list[Object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [env["name"] for each in ours for env in container(each)["env"] if env["name"].startswith(PREFIX)]
    assert {name.removeprefix(PREFIX).lower() for name in names} <= Settings.model_fields.keys()

    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_SETTINGS_FILE", str(KUSTOMIZE / "shared" / "nightshift.toml"))
    assert load_settings().task_events


def test_an_overlay_as_documented_replaces_the_settings_of_every_pod(tmp_path: Path, kubectl: None) -> None:
    page = (CHECKOUT / "docs" / "how-to" / "deploy.md").read_text()
    shutil.copytree(KUSTOMIZE, tmp_path, dirs_exist_ok=True)
    mine = tmp_path / "overlays" / "mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    (mine / "nightshift.toml").write_text("concurrency = 7\n")

    objects = render(mine)
    (settings,) = (each for each in objects if each["kind"] == "ConfigMap")
    assert settings["data"] == {"nightshift.toml": "concurrency = 7\n"}
    for each in workloads(objects):
        assert {"name": settings["metadata"]["name"]} in [
            volume.get("configMap") for volume in pod(each)["volumes"]
        ]
        assert container(each)["image"] == f"registry.example/nightshift:{nightshift.__version__}"


# How it lives and stops


def test_a_stopping_pod_is_given_longer_than_its_runs_are(ours: list[Object]) -> None:
    soft = timedelta(seconds=celery_settings(load_settings())["worker_soft_shutdown_timeout"])
    for each in ours:
        assert timedelta(seconds=pod(each)["terminationGracePeriodSeconds"]) >= soft + MARGIN


def test_every_pod_has_probes_requests_and_limits(objects: list[Object]) -> None:
    for each in workloads(objects):
        found = container(each)
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= found.keys()
        for bound in ("requests", "limits"):
            assert found["resources"][bound].keys() == {"cpu", "memory"}


def test_whether_a_process_is_restarted_does_not_depend_on_redis(ours: list[Object]) -> None:
    for each in ours:
        probe = container(each)["livenessProbe"]
        assert (
            probe.get("exec", {}).get("command") == ["alive"]
            or probe.get("httpGet", {}).get("path") == "/livez"
            or "tcpSocket" in probe
        )


def test_a_probe_names_a_port_or_a_program_that_is_there(ours: list[Object]) -> None:
    for each in ours:
        found = container(each)
        ports = {port["name"] for port in found.get("ports", ())}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = found[kind]
            by_port = probe.get("httpGet") or probe.get("tcpSocket")
            if by_port:
                assert by_port["port"] in ports
            else:
                (program,) = probe["exec"]["command"]
                assert (KUSTOMIZE.parent / "bin" / program).is_file()


# What it may do


def test_pods_are_restricted(objects: list[Object]) -> None:
    for each in workloads(objects):
        spec, security = pod(each)["securityContext"], container(each)["securityContext"]
        assert spec["runAsNonRoot"]
        assert spec["runAsUser"] > 0
        assert spec["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(each).keys()
        assert not any("hostPath" in volume for volume in pod(each)["volumes"])


def test_pods_are_given_no_account_and_no_variables_of_services(objects: list[Object]) -> None:
    for each in workloads(objects):
        assert pod(each)["automountServiceAccountToken"] is False
        assert pod(each)["enableServiceLinks"] is False


def test_no_service_is_named_like_a_setting(objects: list[Object]) -> None:
    names = [each["metadata"]["name"] for each in objects if each["kind"] == "Service"]
    assert names
    assert not [name for name in names if name.startswith("nightshift")]


def test_only_those_that_need_it_are_given_a_password(rendered: list[Object]) -> None:
    given = {each["metadata"]["name"]: _secrets(each) for each in workloads(rendered)}
    apart = {"web": {"nightshift", "web"}, "flower": {"nightshift", "flower"}, "redis": {"redis"}}
    assert given == {name: apart.get(name, {"nightshift"}) for name in given}


def test_nobody_reaches_a_pod_except_what_is_there_to_be_reached(rendered: list[Object]) -> None:
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"]
    reached = set()
    for each in workloads(rendered):
        covering = [policy for policy in policies if _selects(policy["podSelector"], each)]
        assert {kind for policy in covering for kind in policy["policyTypes"]} == {"Ingress", "Egress"}
        sources = [
            source for policy in covering for rule in policy.get("ingress", ()) for source in rule["from"]
        ]
        assert all(source.keys() == {"podSelector"} for source in sources)
        if sources:
            reached.add(each["metadata"]["name"])
    assert reached - {"redis"} == {"web", "flower"}


def test_no_pod_reaches_the_clouds_metadata(objects: list[Object]) -> None:
    rules = [
        rule
        for each in objects
        if each["kind"] == "NetworkPolicy"
        for rule in each["spec"].get("egress", ())
        if {port["port"] for port in rule["ports"]} != {53}
    ]
    blocks = [to["ipBlock"] for rule in rules for to in rule["to"] if "ipBlock" in to]
    assert blocks
    for block in blocks:
        for address in METADATA:
            excepted = any(address in ipaddress.ip_network(each) for each in block["except"])
            assert excepted or address not in ipaddress.ip_network(block["cidr"])


# Whether it fits together


def test_every_object_is_valid(rendered: list[Object]) -> None:
    newest = kubernetes_validate.latest_version()
    for each in rendered:
        kubernetes_validate.validate(each, newest, strict=True)


def test_a_misspelt_field_would_not_be_valid(rendered: list[Object]) -> None:
    broken = json.loads(json.dumps(workloads(rendered)[0]))
    broken["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_selectors_of_two_deployments_never_meet(rendered: list[Object]) -> None:
    for each in workloads(rendered):
        chosen = [other for other in workloads(rendered) if _selects(each["spec"]["selector"], other)]
        assert chosen == [each]


def test_services_and_disruption_budgets_select_one_deployment_each(rendered: list[Object]) -> None:
    budgets = [each for each in rendered if each["kind"] == "PodDisruptionBudget"]
    services = [each for each in rendered if each["kind"] == "Service"]
    covered = [_only(each["spec"]["selector"], rendered) for each in budgets]
    assert sorted(covered) == sorted(
        each["metadata"]["name"] for each in workloads(rendered) if runs_nightshift(each)
    )
    for each in services:
        assert _only({"matchLabels": each["spec"]["selector"]}, rendered) == each["metadata"]["name"]


def test_a_drained_node_is_never_held_up(objects: list[Object]) -> None:
    budgets = [each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert {budget.get("maxUnavailable") for budget in budgets} == {1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KUSTOMIZE)))
def test_images_are_pinned_and_no_secret_is_written_down(file: Path) -> None:
    for each in yaml.safe_load_all(file.read_text()):
        assert each["kind"] != "Secret"
        assert "secretGenerator" not in each
        for image in _images(each):
            name, _, tag = image.partition(":")
            assert tag.count(".") == 2
            assert name != "nightshift" or tag == nightshift.__version__


def _images(value: Any) -> list[str]:
    if isinstance(value, list):
        return [image for each in value for image in _images(each)]
    if not isinstance(value, dict):
        return []
    found = [image for each in value.values() for image in _images(each)]
    return [*found, value["image"]] if isinstance(value.get("image"), str) else found


def _roles(found: list[Object]) -> list[str]:
    return [labels(each)["role"] for each in found if "$(ROLE)" in container(each).get("args", ())]


def _selects(selector: Object, workload: Object) -> bool:
    wanted: dict[str, str] = selector["matchLabels"]
    return wanted.items() <= labels(workload).items()


def _only(selector: Object, objects: list[Object]) -> str:
    (chosen,) = (each for each in workloads(objects) if _selects(selector, each))
    name: str = chosen["metadata"]["name"]
    return name


def _secrets(workload: Object) -> set[str]:
    found = set()
    for volume in pod(workload)["volumes"]:
        sources = [each["secret"]["name"] for each in volume.get("projected", {}).get("sources", ())]
        found |= {*sources, *([volume["secret"]["secretName"]] if "secret" in volume else ())}
    return found
