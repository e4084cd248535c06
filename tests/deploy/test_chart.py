"""The Helm chart: its values, what they change, and which values it refuses."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub._version import __version__
from hub.base.log import LogLevel
from tests.deploy.manifest_tools import (
    CHART,
    CONTAINER,
    NAME,
    OPENSHIFT,
    VALUES,
    Values,
    charted,
    comparable,
    container,
    helm,
    kustomized,
    mounts,
    only,
    pod,
    run,
)
from tests.deploy.manifest_validity import mistakes

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


FOREIGN = {
    *("config.plugins", "resources.requests", "resources.limits", "nodeSelector", "affinity"),
    *("config.map", "podAnnotations", "podSecurityContext", "podMonitor.labels", "alerts.labels"),
}
"""Values whose keys the chart does not define."""


NVIDIA_ONLY = {
    *("config.name", "updateStrategy.rollingUpdate", "mps.enableHostNetwork", "devicePlugin", "gfd", "nfd"),
    *("allowDefaultNamespace", "nvidiaDevRoot", "securityContext", "selectorLabelsOverride"),
}
"""Values of NVIDIA's chart that have no meaning here: the schema lists them, so that a refusal can say why."""


SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


REFUSED: list[tuple[Values, str]] = [
    ({"podmonitor": {"enabled": True}}, "additional properties 'podmonitor' not allowed"),
    ({"image": {"name": "x"}}, "'/image': additional properties 'name' not allowed"),
    ({"image": {"digest": "sha256:1"}}, "'/image/digest': 'sha256:1' does not match pattern"),
    ({"image": {"repository": "a host/x"}}, "'/image/repository': 'a host/x' does not match pattern"),
    ({"mps": {"enabled": "yes"}}, "'/mps/enabled': got string, want boolean"),
    ({"httpPort": 65536}, "'/httpPort': maximum: got 65,536, want 65,535"),
    ({"logLevel": "loud"}, "'/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ({"kubeletRoot": "/var/lib/kubelet/"}, "'/kubeletRoot': '/var/lib/kubelet/' does not match pattern"),
    ({"runDir": "run"}, "'/runDir': 'run' does not match pattern"),
    ({"nvidiaDriverRoot": "driver"}, "'/nvidiaDriverRoot': 'driver' does not match pattern"),
    ({"config": {"circusIni": ""}}, "'/config/circusIni': minLength"),
    ({"config": {"plugins": {"gpu.yaml": {"version": "v1"}}}}, "'/config/plugins/gpu.yaml': got object, want string"),
    ({"config": {"plugins": {"circus.ini": ""}}}, "invalid propertyName 'circus.ini'"),
    ({"env": [{"name": "A", "val": "b"}]}, "'/env/0': additional properties 'val' not allowed"),
    ({"tolerations": [{"operator": "Exist"}]}, "'/tolerations/0/operator': value must be one of 'Exists', 'Equal'"),
    ({"resources": {"limits": {"memory": "much"}}}, "'/resources/limits/memory': 'much' does not match pattern"),
    ({"networkPolicy": {"namespace": ""}}, "'/networkPolicy/namespace': '' does not match pattern"),
    ({"migStrategy": "all"}, "'/migStrategy': value must be one of 'none', 'single', 'mixed'"),
    ({"deviceListStrategy": "cdi"}, "'/deviceListStrategy': 'cdi' does not match pattern"),
    ({"deviceListStrategy": ["cdi"]}, "'/deviceListStrategy/0': value must be one of 'envvar'"),
    ({"gdsEnabled": "yes"}, "'/gdsEnabled': got string, want null or boolean"),
    ({"deviceDiscoveryStrategy": "tegra"}, "the GPU plugin does not support Tegra"),
    ({"config": {"circusIni": "[watcher:a]"}, "migStrategy": "mixed"}, "no section of config.circusIni reads gpu.yaml"),
    ({"config": {"plugins": {"gpu.yaml": "- a"}}}, "gpu.yaml: not a YAML mapping"),
    ({"podAnnotations": {"checksum/config": "1"}}, "invalid propertyName 'checksum/config'"),
    ({"updateStrategy": {"maxSurge": -1}}, "'/updateStrategy/maxSurge': minimum: got -1, want 0"),
    ({"updateStrategy": {"maxUnavailable": 1}}, "exactly one of maxSurge and maxUnavailable must be 0"),
    ({"updateStrategy": {"maxSurge": 0}}, "exactly one of maxSurge and maxUnavailable must be 0"),
    (
        {"updateStrategy": {"type": "Recreate"}},
        "'/updateStrategy/type': value must be one of 'RollingUpdate', 'OnDelete'",
    ),
    ({"fullnameOverride": "gpu.hub"}, "'/fullnameOverride': 'gpu.hub' does not match pattern"),
    ({"image": {"pullPolicy": "never"}}, "'/image/pullPolicy': value must be one of '', 'Always'"),
    ({"podAnnotations": {"a": True}}, "'/podAnnotations/a': got boolean, want string"),
    ({"podSecurityContext": {"runAsNonRoot": True}}, "podSecurityContext.runAsNonRoot: the hub runs as root"),
    ({"requireHardware": ["nic"]}, "'/requireHardware/0': value must be one of 'gpu', 'rdma', 'amd'"),
    ({"dra": {"deviceClasses": [{"driver": "a"}]}}, "'/dra/deviceClasses/0': missing property 'resource'"),
    ({"dra": {"enabled": True}, **VALUES["kubelet-root"]}, "dra cannot be combined with kubeletRoot"),
    ({"config": {"circusIni": "[watcher:a]\ncmd = a\napi = dra\n"}}, "a plugin has api = dra, which needs dra.enabled"),
    ({**VALUES["unprivileged"], **VALUES["mps"]}, "unprivileged cannot be combined with mps or resets"),
    ({**VALUES["unprivileged"], **VALUES["resets"]}, "unprivileged cannot be combined with mps or resets"),
]


@pytest.mark.parametrize(("values", "why"), REFUSED, ids=lambda part: "" if isinstance(part, str) else json.dumps(part))
def test_wrong_values_are_refused(values: Values, why: str) -> None:
    """Misspelled and impossible values are refused, with their location, before anything reaches the cluster."""
    done = helm(values)
    assert done.returncode != 0
    assert why in done.stderr


def test_a_release_with_a_dot_is_refused() -> None:
    """The pods of such a release could not be hubs, so Helm refuses its name."""
    assert "the release name must not contain a dot" in helm(release="node.devices").stderr


def test_helm_lint_finds_nothing() -> None:
    """Helm's own check of the chart passes, without warnings."""
    done = run("helm", "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout


def test_the_version() -> None:
    """The chart and what it installs have the version of the hub."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_every_value_is_in_the_schema() -> None:
    """The schema has the chart's values and no others, except Helm's `global`; its log levels are the hub's."""
    assert set(_paths(SCHEMA)) - {"global"} == set(_keys(DEFAULTS)) | NVIDIA_ONLY
    assert SCHEMA["properties"]["logLevel"]["enum"] == [level.value for level in LogLevel]


def _paths(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the paths of the keys in the schema."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    properties = (SCHEMA["definitions"][reference] if reference else schema).get("properties")
    if not properties or path in FOREIGN:
        yield path
        return
    for name, inner in properties.items():
        yield from _paths(inner, f"{path}.{name}".lstrip("."))


def _keys(values: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - what YAML has
    """Yield the paths of the keys in the values."""
    if not isinstance(values, dict) or path in FOREIGN:
        yield path
        return
    for name, inner in values.items():
        yield from _keys(inner, f"{path}.{name}".lstrip("."))


def test_values_arrive() -> None:
    """Each value that does not turn a component on takes effect in the objects, and the DaemonSet stays valid."""
    objects = charted(
        {
            "image": {"repository": "registry.example:5000/team/hub", "tag": "1.2.3", "pullPolicy": "Always"},
            "imagePullSecrets": [{"name": "pull"}],
            "config": {"circusIni": "[watcher:own]\ncmd = own --config own.yaml\n", "plugins": {"own.yaml": "a: 1\n"}},
            "env": [{"name": "MIG_STRATEGY", "value": "mixed"}],
            "logLevel": "debug",
            "httpPort": 8080,
            "runDir": "/var/lib/dphub",
            "updateStrategy": {"maxSurge": 0, "maxUnavailable": "10%", "minReadySeconds": 30},
            "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": 2}},
            "priorityClassName": "high",
            "runtimeClassName": "nvidia",
            "podAnnotations": {"example.com/owner": "team"},
            "podSecurityContext": {"fsGroup": 0},
            "nodeSelector": {"example.com/gpus": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
            "networkPolicy": {"enabled": True, "namespace": "observability"},
        },
        VALUES["priority-quota"],
    )
    assert mistakes(objects) == []
    spec, hub = only(objects, "DaemonSet")["spec"], container(objects)
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "10%"}
    assert spec["minReadySeconds"] == 30
    assert hub["image"] == "registry.example:5000/team/hub:1.2.3"
    assert hub["imagePullPolicy"] == "Always"
    assert pod(objects)["imagePullSecrets"] == [{"name": "pull"}]
    assert only(objects, "ConfigMap")["data"].keys() == {"circus.ini", "own.yaml", *DEFAULTS["config"]["plugins"]}
    variables = {variable["name"]: variable.get("value") for variable in hub["env"]}
    assert variables["MIG_STRATEGY"] == "mixed"
    assert variables["DPHUB_LOG_LEVEL"] == "debug"
    assert variables["DPHUB_HTTP"].endswith(":8080")
    assert [port["containerPort"] for port in hub["ports"]] == [8080]
    assert mounts(objects)["/run/dphub"]["hostPath"]["path"] == "/var/lib/dphub"
    assert hub["resources"] == {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"cpu": 2, "memory": "3Gi"}}
    assert pod(objects)["priorityClassName"] == "high"
    assert pod(objects)["runtimeClassName"] == "nvidia"
    assert pod(objects)["securityContext"] == {"fsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    assert spec["template"]["metadata"]["annotations"].keys() == {"checksum/config", "example.com/owner"}
    assert only(objects, "ResourceQuota")["spec"]["scopeSelector"]["matchExpressions"][0]["values"] == ["high"]
    for kind in ("PodMonitor", "PrometheusRule"):
        labels = only(objects, kind)["metadata"]["labels"]
        assert (labels["release"], labels["app.kubernetes.io/instance"]) == ("prometheus", NAME)
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    assert pod(objects)["nodeSelector"] == {"kubernetes.io/os": "linux", "example.com/gpus": "yes"}
    assert pod(objects)["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_defaults_can_be_taken_out() -> None:
    """A file, a limit and the tolerations can be removed, with null or with an empty value."""
    objects = charted(
        {
            "config": {"plugins": {"stub.yaml": None}},
            "resources": {"limits": None},
            "affinity": None,
            "nodeSelector": None,
            "tolerations": [],
        }
    )
    assert mistakes(objects) == []
    assert "stub.yaml" not in only(objects, "ConfigMap")["data"]
    assert "limits" not in container(objects)["resources"]
    assert pod(objects).keys().isdisjoint({"affinity", "nodeSelector", "tolerations"})


def test_pods_that_only_an_administrator_replaces() -> None:
    """As with MPS, no rollout replaces the pods, here because `updateStrategy.type` is OnDelete."""
    strategy = {"updateStrategy": {"type": "OnDelete", "maxUnavailable": 0}}
    assert only(charted(strategy), "DaemonSet")["spec"]["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize(
    ("values", "release", "name", "label"),
    [
        ({"nameOverride": "gpus"}, "a", "a-gpus", "gpus"),
        ({"nameOverride": "gpus"}, "gpus-of-a", "gpus-of-a", "gpus"),
        ({"fullnameOverride": "gpus"}, "a", "gpus", NAME),
        ({"nameOverride": "gpus", "fullnameOverride": "b"}, "a", "b", "gpus"),
        ({"fullnameOverride": "gpus"}, "a.b", "gpus", NAME),
    ],
    ids=["added", "already-there", "whole", "both", "release-with-a-dot"],
)
def test_objects_can_have_another_name(values: Values, release: str, name: str, label: str) -> None:
    """All objects have the new name, even in a different namespace, and everything that selects the pods follows."""
    options = (OPENSHIFT, VALUES["pod-monitor"], VALUES["network-policy"], {"namespaceOverride": "devices"}, values)
    objects = charted(*options, release=release)
    assert mistakes(objects) == []
    assert {each["metadata"]["name"] for each in objects} == {name, f"{name}-config"}
    assert {each["metadata"].get("namespace", "devices") for each in objects} == {"devices"}
    assert only(objects, "RoleBinding")["subjects"][0]["namespace"] == "devices"
    assert pod(objects)["serviceAccountName"] == only(objects, "ServiceAccount")["metadata"]["name"]
    spec = only(objects, "DaemonSet")["spec"]
    assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] == label
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert only(objects, "NetworkPolicy")["spec"]["podSelector"] == spec["selector"]


def test_an_image_by_its_digest(tmp_path: Path) -> None:
    """The digest takes the place of the tag, as `digest` does in kustomize."""
    digest = f"sha256:{'0123456789abcdef' * 4}"
    objects = charted({"image": {"repository": "registry.example/hub", "tag": "1.2.3", "digest": digest}})
    assert mistakes(objects) == []
    assert container(objects)["image"] == f"registry.example/hub@{digest}"
    shutil.copytree(CONTAINER, tmp_path / "container", symlinks=True)
    own = tmp_path / "container" / "overlays" / "own"
    own.mkdir()
    images = [{"name": NAME, "newName": "registry.example/hub", "digest": digest}]
    (own / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["../kubernetes"], "images": images}))
    assert container(kustomized(own))["image"] == container(objects)["image"]


def test_another_kubelet_root_moves_one_directory() -> None:
    """Only the directory of the pod resources API moves; the plugin directory stays, as documented."""
    plain, moved = mounts(charted()), mounts(charted({"kubeletRoot": "/data/kubelet"}))
    changed = {path for path in plain if plain[path] != moved[path]}
    assert changed == {"/var/lib/kubelet/pod-resources"}
    assert moved[changed.pop()]["hostPath"]["path"] == "/data/kubelet/pod-resources"


def test_a_changed_file_is_rolled_out() -> None:
    """A changed string changes the template of the pods; the same string does not."""
    templates = [
        only(objects, "DaemonSet")["spec"]["template"]
        for objects in (charted(), charted(), charted({"config": {"plugins": {"stub.yaml": "resources: []\n"}}}))
    ]
    assert templates[0] == templates[1] != templates[2]


def test_two_releases_share_a_cluster() -> None:
    """Two releases, for two kinds of nodes, have no object in common, and neither selects the other's pods."""
    options = (OPENSHIFT, *(VALUES[name] for name in ("alerts", "network-policy", "pod-monitor", "priority-quota")))
    one, other = charted(*options), charted(*options, release="7")
    assert mistakes(other) == []
    assert comparable(one).keys().isdisjoint(comparable(other).keys())
    assert {each["metadata"]["name"] for each in other} == {"7", "7-config"}
    for objects in (one, other):
        selector = only(objects, "DaemonSet")["spec"]["selector"]["matchLabels"]
        assert selector == only(objects, "PodMonitor")["spec"]["selector"]["matchLabels"]
        assert selector == only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
        assert selector["app.kubernetes.io/instance"] == only(objects, "DaemonSet")["metadata"]["name"]


def test_the_package_is_whole(tmp_path: Path) -> None:
    """The package that `helm package` creates has every file of the chart, although the alerts are kept elsewhere."""
    done = run("helm", "package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    options = (OPENSHIFT, VALUES["alerts"], VALUES["pod-monitor"])
    assert charted(*options, chart=tmp_path / f"{NAME}-{__version__}.tgz") == charted(*options)
