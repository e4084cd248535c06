"""docs/install.md: a reader who follows it gets what it promises."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub import CDI_DIRECTORY as CDI
from hub.testing.kubelet import FakeKubelet
from plugins.gpu.allocation import CDI_VENDOR
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.cdi import VENDOR as RDMA_VENDOR
from tests.deploy.manifest_tools import (
    CHART,
    COMPONENTS,
    CONTAINER,
    NAME,
    OVERLAYS,
    Object,
    charted,
    container,
    default,
    kustomized,
    mounts,
    only,
    pod,
)
from tests.deploy.manifest_validity import OLDEST, mistakes
from tests.docs.docs_tools import blocks, codes, commands, page, rows
from tests.harness.kubeletbuild import VERSIONS
from tests.harness.node import Node
from tests.harness.project import PROJECT

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
WHOLE = {
    "config.plugins",
    "config.map",
    "resources.requests",
    "resources.limits",
    "nodeSelector",
    "affinity",
    "podSecurityContext",
}
"""Values whose keys the chart does not define."""

IN_WORDS = {"agent.config", "config.circusIni", "config.plugins", "affinity", "tolerations"}
"""Values whose defaults are too long for the table."""

KUSTOMIZATION, PATCH, CONFIGURATIONS, CONSTRAINTS, STUB_POD = blocks("install", "yaml")


def test_the_kubelets_are_those_of_the_tests() -> None:
    """The page names each version that `make test-kubelet` runs, and no other."""
    requirement = next(line for line in page("install").splitlines() if line.startswith("| Kubernetes |"))
    assert tuple(re.findall(r"\b1\.\d+\b", requirement.partition("tested with")[2])) == VERSIONS
    assert f"KUBELETS := {' '.join(VERSIONS)}\n" in (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_example_overlay_works(tmp_path: Path, overlay: str) -> None:
    """A copy of either overlay, changed as the page shows, gives valid objects with the image and the reader's file."""
    objects = _overlay(tmp_path, overlay, yaml.safe_load(KUSTOMIZATION.replace("REGISTRY", "registry.example")))
    assert container(objects)["image"].startswith(f"registry.example/{NAME}:")
    assert only(objects, "ConfigMap")["data"]["gpu.yaml"] == "version: v1\n"
    assert {each["kind"] for each in objects}.isdisjoint({"PodMonitor", "PrometheusRule"})


def test_the_example_overlay_has_what_it_comments_out(tmp_path: Path) -> None:
    """Once the lines are uncommented, the overlay has the two components for the Prometheus operator."""
    objects = _overlay(tmp_path, "kubernetes", yaml.safe_load(re.sub("(?m)^# (?=[c ])", "", KUSTOMIZATION)))
    assert {"PodMonitor", "PrometheusRule"} <= {each["kind"] for each in objects}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_example_patch_works(tmp_path: Path, overlay: str) -> None:
    """The patch adds a node selector, a Secret and a variable to the existing ones."""
    objects = _overlay(tmp_path, overlay, yaml.safe_load(PATCH))
    assert pod(objects)["nodeSelector"] == {"kubernetes.io/os": "linux", "device-plugin-hub": "true"}
    assert pod(objects)["imagePullSecrets"] == [{"name": "my-registry"}]
    variables = {variable["name"] for variable in container(objects)["env"]}
    assert variables == {"MIG_STRATEGY", *(variable["name"] for variable in container(charted())["env"])}


def test_the_example_configurations_work(tmp_path: Path) -> None:
    """Each configuration is valid and has a DaemonSet; the label and the names match the commands."""
    values = yaml.safe_load(CONFIGURATIONS)
    names = list(values["config"]["map"])
    for name, text in values["config"]["map"].items():
        (tmp_path / name).write_text(text)
        GPUSettings.read(tmp_path / name)
    objects = charted(values)
    assert mistakes(objects) == []
    assert {each["metadata"]["name"] for each in objects if each["kind"] == "DaemonSet"} == {
        NAME,
        *(f"{NAME}-{name}" for name in names),
    }
    assert f"notin ({', '.join(names)})" in page("install")
    assert f"nvidia.com/device-plugin.config={names[1]}" in page("install")


def test_two_installations_can_have_constraints_of_their_own(tmp_path: Path) -> None:
    """The constraints of the second installation have their own name, and its role allows their use."""
    objects = _overlay(tmp_path, "openshift", yaml.safe_load(CONSTRAINTS))
    name = only(objects, "SecurityContextConstraints")["metadata"]["name"]
    assert name == f"{NAME}-2"
    assert only(objects, "Role")["rules"][0]["resourceNames"] == [name]


def _overlay(tmp_path: Path, overlay: str, wanted: dict[str, Any]) -> list[Object]:
    """Return the objects of a copy of an overlay that is changed as the page shows; they must be valid."""
    tree = tmp_path / "container"
    shutil.copytree(CONTAINER, tree, symlinks=True)
    own = tree / "overlays" / "my-cluster"
    shutil.copytree(tree / "overlays" / overlay, own)
    (own / "gpu.yaml").write_text("version: v1\n")
    before = yaml.safe_load((own / "kustomization.yaml").read_text())
    patches = [*before.get("patches", []), *wanted.get("patches", [])]
    merged = before | wanted | {"resources": before["resources"], "patches": patches}
    (own / "kustomization.yaml").write_text(yaml.safe_dump(merged))
    objects = kustomized(own)
    assert mistakes(objects) == []
    return objects


def test_every_value_is_documented() -> None:
    """Each value of the chart is in the table with its default, and the table has no other values."""
    documented = {codes(value)[0]: default for value, default, _ in rows("install", "value", "default", "meaning")}
    values = dict(_values(DEFAULTS))
    assert list(documented) == list(values)
    for name in values.keys() - IN_WORDS:
        assert yaml.safe_load(codes(documented[name])[0]) == values[name], name


def _values(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in values.items():
        here = f"{path}{name}"
        if isinstance(inner, dict) and inner and here not in WHOLE:
            yield from _values(inner, f"{here}.")
        else:
            yield here, inner


def test_every_component_is_documented() -> None:
    """Each component is in the table with the Helm value that does the same."""
    table = rows("install", "component", "Helm", "use it if")
    assert [codes(name)[0] for name, _, _ in table] == COMPONENTS
    values = dict(_values(DEFAULTS))
    assert all(codes(helm)[0] in values for _, helm, _ in table)


def test_the_requirements_are_those_of_the_manifests() -> None:
    """The page names the oldest Kubernetes and what a node needs, as the manifests do."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert OLDEST in chart["kubeVersion"]
    assert f"| Kubernetes | {OLDEST} or newer" in page("install")
    resources = container(charted())["resources"]
    assert resources == {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "3Gi"}}
    assert "128 MiB of memory and 0.05 CPU" in page("install")
    assert "memory limit is 3 GiB" in page("install")


async def test_the_example_pod_gets_two_stub_devices(node: Node, kubelet: FakeKubelet, tmp_path: Path) -> None:
    """The pod is valid and requests devices of the manifests' stub; its log is as the page shows."""
    wanted = yaml.safe_load(STUB_POD)
    assert mistakes([wanted]) == []
    (main,) = wanted["spec"]["containers"]
    settings = tmp_path / "stub.yaml"
    settings.write_text(only(charted(), "ConfigMap")["data"]["stub.yaml"])
    node.start_plugin(config=settings)
    await kubelet.wait_for("example.com/stub", 4)
    limits = {name: int(count) for name, count in main["resources"]["limits"].items()}
    response = (await kubelet.admit("stub-test", limits)).containers["main"].response
    assert response.envs == {"STUB_DEVICES": "stub-0,stub-1"}
    files = [device.container_path for device in response.devices]
    assert all(text in page("install") for text in ("stub-0,stub-1", *files))
    assert "$STUB_DEVICES" in main["command"][-1]


def test_the_namespace_for_helm_has_the_labels_of_the_manifests() -> None:
    """The labels of the Pod Security Standards are the same as on kustomize's namespace."""
    (command,) = [each for each in commands("install") if each.startswith("kubectl label namespace")]
    labels = only(default(), "Namespace")["metadata"]["labels"]
    wanted = [f"{name}={level}" for name, level in labels.items() if name.startswith("pod-security.kubernetes.io/")]
    assert sorted(command.split()[4:]) == sorted(wanted)


def test_what_stays_on_a_node() -> None:
    """The list has each directory that the pods may write to, except the kubelet's own."""
    stays = " ".join(codes(" ".join(cell for row in rows("install", "left on a node") for cell in row)))
    options = {name: {"enabled": True} for name in ("mps", "multus", "resets")}
    writable = {
        mount["hostPath"]["path"]
        for mount in mounts(charted(options)).values()
        if not mount.get("readOnly") and mount["hostPath"]["path"] not in {"/var/lib/kubelet/device-plugins", "/sys"}
    }
    assert [path for path in writable if path.removesuffix("/shm") not in stays] == []
    for vendor in (CDI_VENDOR, RDMA_VENDOR):
        assert f"{vendor}-*.json" in stays
    assert str(CDI) in stays


def test_the_page_can_be_forwarded() -> None:
    """The hub listens where the page says, on all addresses of its pod."""
    (http,) = [each["value"] for each in container(charted())["env"] if each["name"] == "DPHUB_HTTP"]
    assert f"`DPHUB_HTTP` is `{http}`" in page("install")
    assert f"port-forward POD {http.removeprefix(':')}" in page("install")


def test_the_service_account_and_the_namespace_are_as_the_commands_have_them() -> None:
    """The name of the DaemonSet, the namespace and the label of the pods in the commands match the manifests."""
    daemonset = only(charted(), "DaemonSet")
    assert (daemonset["metadata"]["name"], daemonset["metadata"]["namespace"]) == (NAME, NAME)
    assert f"rollout status daemonset/{NAME}" in page("install")
    assert (
        f"app.kubernetes.io/name={daemonset['spec']['template']['metadata']['labels']['app.kubernetes.io/name']}"
        in page("install")
    )
    assert pod(charted())["priorityClassName"] in page("install")
