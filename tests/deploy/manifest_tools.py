"""The manifests as a cluster gets them: made by kustomize, and by Helm from the chart."""

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.harness.tools import tool

CONTAINER = Path(__file__).parents[2] / "container"
CHART = CONTAINER / "chart" / "device-plugin-hub"
COMPONENTS = sorted(path.name for path in (CONTAINER / "components").iterdir())
NAME = "device-plugin-hub"
"""The name of all objects, of their namespace, and of the chart's release."""

Object = dict[str, Any]
Values = Mapping[str, Any]

KUBERNETES: Values = {}
OPENSHIFT: Values = {"openshift": {"enabled": True}}
OVERLAYS: Mapping[str, Values] = {"kubernetes": KUBERNETES, "openshift": OPENSHIFT}
"""The overlays, and the chart's values that produce the same objects."""

VALUES: Mapping[str, Values] = {
    "agent": {"agent": {"enabled": True}},
    "alerts": {"alerts": {"enabled": True}},
    "amd-exporter": {"amdExporter": {"enabled": True}},
    "driver-root": {"nvidiaDriverRoot": "/run/nvidia/driver"},
    "kubelet-root": {"kubeletRoot": "/var/lib/k0s/kubelet"},
    "mps": {"mps": {"enabled": True}},
    "multus": {"multus": {"enabled": True}},
    "network-policy": {"networkPolicy": {"enabled": True}},
    "node-labels": {"nodeLabels": {"enabled": True}},
    "nvsentinel": {"nvsentinel": {"enabled": True}},
    "pod-monitor": {"podMonitor": {"enabled": True}},
    "priority-quota": {"priorityQuota": {"enabled": True}},
    "resets": {"resets": {"enabled": True}},
    "udev": {"udev": {"enabled": True}},
    "unprivileged": {"unprivileged": {"enabled": True}},
    "xpumd": {"xpumd": {"enabled": True}},
}
"""The components, and the chart's values that produce the same objects."""

ALL_OPTIONS = [name for name in VALUES if name != "unprivileged"]
"""The components that can be combined."""


def run(program: str, *words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl or helm; skip the test if the set-up could not install it."""
    __tracebackhide__ = True
    return subprocess.run([tool(program), *words], input=text, capture_output=True, text=True, check=False)


def kustomized(directory: Path) -> list[Object]:
    """Return the objects that kustomize makes from a directory."""
    return _objects(run("kubectl", "kustomize", directory))


def overlay_with(tree: Path, overlay: str, components: Iterable[str]) -> Path:
    """Create an overlay with components.

    Args:
        tree: A copy of container/.
        overlay: The name of the overlay that it extends.
        components: Their names.
    """
    directory = tree / "overlays" / "-".join(["test", overlay, *components])
    directory.mkdir(exist_ok=True)
    wanted = {"resources": [f"../{overlay}"], "components": [f"../../components/{name}" for name in components]}
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return directory


def with_components(tree: Path, overlay: str, components: Iterable[str]) -> list[Object]:
    """Return the objects of an overlay with components."""
    return kustomized(overlay_with(tree, overlay, components))


def helm(*values: Values, chart: Path = CHART, release: str = NAME) -> subprocess.CompletedProcess[str]:
    """Have Helm render the chart, without the pod of `helm test`."""
    return _rendered(values, chart, release, "--skip-tests")


def charted(*values: Values, chart: Path = CHART, release: str = NAME) -> list[Object]:
    """Return the chart's objects with these values."""
    return _objects(helm(*values, chart=chart, release=release))


def helm_test(*values: Values, release: str = NAME) -> Object:
    """Return the pod of `helm test`."""
    (pod,) = _objects(_rendered(values, CHART, release, "--show-only", "templates/test.yaml"))
    return pod


def _rendered(values: Sequence[Values], chart: Path, release: str, *flags: str) -> subprocess.CompletedProcess[str]:
    text = yaml.safe_dump(_merged(values))
    return run("helm", "template", release, chart, "--namespace", NAME, "--values", "-", *flags, text=text)


def _objects(done: subprocess.CompletedProcess[str]) -> list[Object]:
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _merged(values: Sequence[Values]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for each in values:
        merged |= each
    return merged


def only(objects: Iterable[Object], kind: str) -> Object:
    """Return the one object of a kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod(objects: Iterable[Object]) -> dict[str, Any]:
    """Return the specification of the hub's pods."""
    spec: dict[str, Any] = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    return spec


def container(objects: Iterable[Object]) -> dict[str, Any]:
    """Return the one container of the hub's pods."""
    (hub,) = pod(objects)["containers"]
    found: dict[str, Any] = hub
    return found


def environment(objects: list[Object]) -> dict[str, str]:
    """Return the container's variables, with a value for those that a cluster would set, and with PYTHONPATH."""
    variables = container(objects)["env"]
    return {variable["name"]: variable.get("value", "a-pod") for variable in variables} | {
        "PYTHONPATH": str(CONTAINER.parent)
    }


def mounts(objects: Sequence[Object]) -> dict[str, dict[str, Any]]:
    """Return the container's mounts of the node by the node's path: the mount, and its volume's `hostPath`."""
    volumes = {volume["name"]: volume.get("hostPath") for volume in pod(objects)["volumes"]}
    return {
        mount["mountPath"]: mount | {"hostPath": volumes[mount["name"]]}
        for mount in container(objects)["volumeMounts"]
        if volumes[mount["name"]]
    }


def comparable(objects: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Return objects by kind and name, without the three differences between kustomize and Helm that are inevitable.

    - The namespace: Helm needs it before it installs anything.
    - How a changed file is rolled out: kustomize puts a hash into the ConfigMap's name, the chart into an annotation.
    - The order of list entries with names: kustomize puts those that a patch adds or changes first.
    """
    found = {}
    for original in objects:
        each = deepcopy(original)
        each["metadata"]["name"] = _without_hash(each["metadata"]["name"])
        if each["kind"] == "DaemonSet":
            template = each["spec"]["template"]
            annotations = template["metadata"].pop("annotations", {})
            assert set(annotations) <= {"checksum/config"}
            for volume in template["spec"]["volumes"]:
                if "configMap" in volume:
                    volume["configMap"]["name"] = _without_hash(volume["configMap"]["name"])
            template["spec"]["volumes"].sort(key=lambda volume: volume["name"])
            for hub in template["spec"]["containers"]:
                hub["env"].sort(key=lambda variable: variable["name"])
                hub["volumeMounts"].sort(key=lambda mount: mount["mountPath"])
        if each["kind"] != "Namespace":
            found[each["kind"], each["metadata"]["name"]] = each
    return found


def _without_hash(name: str) -> str:
    return re.sub("(-config)-[a-z0-9]{10}$", r"\1", name)


@cache
def default() -> list[Object]:
    """Return the objects of the Kubernetes overlay without changes."""
    return kustomized(CONTAINER / "overlays" / "kubernetes")
