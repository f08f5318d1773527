"""What Kubernetes would be given: the base and every overlay, rendered."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
#: What is applied; the other folders are what these are made of.
ROOTS = {"base": KUSTOMIZE / "base"} | {path.name: path for path in (KUSTOMIZE / "overlays").iterdir()}
KUBECTL = shutil.which("kubectl")

Object = dict[str, Any]


@cache
def render(root: Path) -> list[Object]:
    """The objects as kubectl makes them."""
    done = subprocess.run([KUBECTL or "kubectl", "kustomize", root], check=True, capture_output=True)
    return list(yaml.safe_load_all(done.stdout))


@cache
def read(root: Path) -> list[Object]:
    """The objects as they are written, with the pod patch and the role: enough to judge a pod by."""
    return list(_read(root))


def _read(folder: Path) -> Iterator[Object]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    role = {key: value for each in kustomization.get("labels", ()) for key, value in each["pairs"].items()}
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        for each in _read(path) if path.is_dir() else yaml.safe_load_all(path.read_text()):
            if each["kind"] == "Deployment":
                if "components" in kustomization:
                    _lay_over(
                        each["spec"], yaml.safe_load((KUSTOMIZE / "pod" / "pod.yaml").read_text())["spec"]
                    )
                each["spec"]["template"]["metadata"]["labels"] |= role
            yield each


def _lay_over(under: Object, over: Object) -> None:
    for key, value in over.items():
        if isinstance(value, dict):
            _lay_over(under.setdefault(key, {}), value)
        elif key == "containers":
            _lay_over(under[key][0], value[0])
        elif key == "env":
            under[key] = value + under.get(key, [])
        else:
            under[key] = value


def workloads(objects: list[Object]) -> list[Object]:
    """Whatever runs pods."""
    return [each for each in objects if each["kind"] in ("Deployment", "StatefulSet")]


def pod(workload: Object) -> Object:
    """The pod's spec."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def container(workload: Object) -> Object:
    """The pod's one container."""
    (only,) = pod(workload)["containers"]
    return dict(only)


def labels(workload: Object) -> dict[str, str]:
    """The labels of its pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def runs_nightshift(workload: Object) -> bool:
    return str(container(workload)["image"]).startswith("nightshift:")
