"""The nodes that the chart's pods run on, and which configuration each node gets."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import yaml

from tests.deploy.manifest_tools import CHART, NAME, VALUES, Object, Values, charted, helm, only, pod
from tests.deploy.manifest_validity import mistakes

DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())

LABEL = "nvidia.com/device-plugin.config"
NODE = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
"""The labels of every node."""

MIXED = "version: v1\nflags: {migStrategy: mixed}\n"
PLAIN = "version: v1\nflags: {migStrategy: none}\n"
CONFIGURATIONS: Values = {"config": {"map": {"default": PLAIN, "MIG_mixed": MIXED, "a100.40gb": MIXED}}}


def _select(objects: Iterable[Object], labels: Mapping[str, str]) -> list[str]:
    """Return the DaemonSets that have a pod on a node with these labels, as the DaemonSet controller decides."""
    return [
        each["metadata"]["name"]
        for each in objects
        if each["kind"] == "DaemonSet" and _matches(each["spec"]["template"]["spec"], NODE | labels)
    ]


def _matches(spec: dict[str, Any], labels: Mapping[str, str]) -> bool:
    if not spec.get("nodeSelector", {}).items() <= labels.items():
        return False
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return any(
        all(_holds(expression, labels) for expression in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
    )


def _holds(expression: dict[str, Any], labels: Mapping[str, str]) -> bool:
    if expression["operator"] == "DoesNotExist":
        return expression["key"] not in labels
    assert expression["operator"] == "In"
    return labels.get(expression["key"]) in expression["values"]


def _daemonsets(*values: Values) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in charted(*values) if each["kind"] == "DaemonSet"}


def _gpu_file(objects: list[Object], daemonset: str) -> str:
    """Return the gpu.yaml that the pods of a DaemonSet have."""
    spec = next(each for each in objects if each["kind"] == "DaemonSet" and each["metadata"]["name"] == daemonset)
    (config,) = [volume for volume in spec["spec"]["template"]["spec"]["volumes"] if volume["name"] == "config"]
    name = config["configMap"]["name"]
    files: dict[str, str] = next(
        each["data"] for each in objects if each["kind"] == "ConfigMap" and each["metadata"]["name"] == name
    )
    assert files.keys() == {"circus.ini", *DEFAULTS["config"]["plugins"]}
    return files["gpu.yaml"]


@pytest.mark.parametrize(
    ("labels", "daemonset", "text"),
    [
        ({}, NAME, PLAIN),
        ({LABEL: "default"}, f"{NAME}-default", PLAIN),
        ({LABEL: "MIG_mixed"}, f"{NAME}-mig-mixed", MIXED),
        ({LABEL: "a100.40gb"}, f"{NAME}-a100-40gb", MIXED),
    ],
    ids=["no-label", "default", "MIG_mixed", "a100.40gb"],
)
def test_a_node_gets_the_configuration_that_its_label_names(labels: dict[str, str], daemonset: str, text: str) -> None:
    """One DaemonSet runs a pod on the node; a node without the label gets the default configuration."""
    objects = charted(CONFIGURATIONS)
    assert mistakes(objects) == []
    assert _select(objects, labels) == [daemonset]
    assert _gpu_file(objects, daemonset) == text


def test_an_unknown_configuration_is_not_replaced_by_another() -> None:
    """A node whose label names no configuration gets no pod; NVIDIA's plugin does not start there, either."""
    assert _select(charted(CONFIGURATIONS), {LABEL: "mig-mixd"}) == []


def test_a_changed_configuration_replaces_the_pods_of_its_nodes_only() -> None:
    """The templates of the other DaemonSets stay as they are, even if a configuration is added or removed."""
    before = _daemonsets(CONFIGURATIONS)
    names = CONFIGURATIONS["config"]["map"]
    changed = _daemonsets({"config": {"map": names | {"MIG_mixed": PLAIN, "new": PLAIN}}})
    assert {name for name, each in changed.items() if each != before.get(name)} == {f"{NAME}-mig-mixed", f"{NAME}-new"}


def test_configurations_can_be_added_to_a_release() -> None:
    """The existing DaemonSet keeps its name and its selector, which cannot be changed."""
    before, after = _daemonsets()[NAME], _daemonsets(CONFIGURATIONS)[NAME]
    assert before["spec"]["selector"] == after["spec"]["selector"]


def test_nothing_reads_the_label_from_the_cluster() -> None:
    """The DaemonSet controller decides: there is no role, and no pod has a token."""
    objects = charted(CONFIGURATIONS)
    assert {each["kind"] for each in objects} == {"ConfigMap", "DaemonSet", "ServiceAccount"}
    for each in _daemonsets(CONFIGURATIONS).values():
        assert each["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_each_pod_belongs_to_one_configuration_and_to_the_release() -> None:
    """The release's selectors match all of its pods; no named DaemonSet selects the pods of another one."""
    objects = charted(CONFIGURATIONS, VALUES["pod-monitor"], VALUES["network-policy"])
    daemonsets = [each for each in objects if each["kind"] == "DaemonSet"]
    release = only(objects, "PodMonitor")["spec"]["selector"]["matchLabels"]
    assert only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == release
    for one in daemonsets:
        labels = one["spec"]["template"]["metadata"]["labels"]
        assert release.items() <= labels.items()
        selecting = [
            other["metadata"]["name"]
            for other in daemonsets
            if other["spec"]["selector"]["matchLabels"].items() <= labels.items()
        ]
        assert set(selecting) == {NAME, one["metadata"]["name"]}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"default": "b", "map": {"a": PLAIN, "b": MIXED, "default": PLAIN}}, MIXED),
        ({"map": {"a": MIXED, "default": PLAIN}}, PLAIN),
        ({"map": {"a": MIXED}}, MIXED),
        ({"map": {"a": PLAIN, "b": MIXED}, "fallbackStrategies": ["named", "single", "empty"]}, "version: v1\n"),
        ({"map": {"default": MIXED}, "fallbackStrategies": ["empty", "named"]}, "version: v1\n"),
    ],
    ids=["by-name", "named", "single", "empty", "in-order"],
)
def test_the_configuration_of_nodes_without_a_label(config: dict[str, Any], text: str) -> None:
    """The default is the one that `config.default` names, or the first that a strategy finds, as in NVIDIA's chart."""
    assert _gpu_file(charted({"config": config}), NAME) == text


def test_values_for_gpus_apply_to_all_configurations() -> None:
    """These values override what each configuration says."""
    objects = charted(CONFIGURATIONS, {"migStrategy": "single"})
    for name in _daemonsets(CONFIGURATIONS):
        assert "migStrategy: single" in _gpu_file(objects, name)


MPS = "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"config": {"map": {"a": PLAIN, "b": PLAIN}}}, "config.map has no configuration for nodes without a label"),
        ({"config": {"default": "b", "map": {"a": PLAIN}}}, 'config.default: config.map has no configuration "b"'),
        ({"config": {"default": "b"}}, 'config.default: config.map has no configuration "b"'),
        ({"config": {"name": "configs"}}, "config.name: a chart cannot read a ConfigMap in the cluster"),
        ({"config": {"map": {"a": "- x"}}}, "not a YAML mapping"),
        ({"config": {"map": {"a b": PLAIN}}}, "invalid propertyName 'a b'"),
        ({"config": {"map": {"a": {"version": "v1"}}}}, "'/config/map/a': got object, want string"),
        (
            {"config": {"default": "a.b", "map": {"a.b": PLAIN, "A-B": PLAIN}}},
            "would produce objects with the same names",
        ),
        ({"config": {"map": {"a" * 60: PLAIN}}}, "is too long for the name of an object"),
        (
            {"config": {"map": {"a": PLAIN}, "circusIni": "[watcher:a]"}},
            "no section of config.circusIni reads gpu.yaml",
        ),
        ({"config": {"map": {"a": PLAIN}}, "nodeSelector": {LABEL: "a"}}, "config.map already selects nodes"),
        ({"config": {"default": "a", "map": {"a": PLAIN, "b": MPS}}}, "config.map.b: sharing.mps needs mps.enabled"),
        ({"config": {"plugins": {"gpu.yaml": MPS}}}, "gpu.yaml: sharing.mps needs mps.enabled"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_configurations_that_contradict_each_other_are_refused(values: Values, why: str) -> None:
    """Helm refuses them and names their location, before anything reaches the cluster."""
    done = helm(values)
    assert done.returncode != 0
    assert why in done.stderr


def test_configurations_with_mps() -> None:
    """Configurations with MPS need `mps.enabled`, and no rollout replaces the pods of any configuration."""
    values: Values = {"config": {"map": {"a": MPS}}, **VALUES["mps"]}
    assert mistakes(charted(values)) == []
    for each in _daemonsets(values).values():
        assert each["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_only_nodes_with_the_hardware() -> None:
    """One of the labels suffices, and the user's affinity is kept, with each of its terms in force."""
    gpu, present = ("feature.node.kubernetes.io/pci-10de.present", "nvidia.com/gpu.present")
    rdma = "feature.node.kubernetes.io/pci-15b3.present"
    assert _required(charted({"requireHardware": ["gpu"]})) == [["kubernetes.io/arch", key] for key in (gpu, present)]
    preferred = [{"weight": 1, "preference": {"matchExpressions": [{"key": "c", "operator": "Exists"}]}}]
    terms = [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]},
    ]
    affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    }
    objects = charted({"requireHardware": ["rdma", "gpu"], "affinity": affinity})
    assert mistakes(objects) == []
    keys = (rdma, gpu, present)
    assert _required(objects) == [*(["a", key] for key in keys), *([key, "metadata.name"] for key in keys)]
    node = pod(objects)["affinity"]["nodeAffinity"]
    assert node["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    assert _required(charted({"requireHardware": ["rdma"], "affinity": None})) == [[rdma]]
    amd = [[f"feature.node.kubernetes.io/{label}"] for label in ("pci-1002.present", "amd-gpu")]
    assert _required(charted({"requireHardware": ["amd"], "affinity": None})) == amd


def _required(objects: list[Object]) -> list[list[str]]:
    """Return the keys in each term of the node affinity."""
    required = pod(objects)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [
        [each["key"] for kind in ("matchExpressions", "matchFields") for each in term.get(kind, [])]
        for term in required["nodeSelectorTerms"]
    ]


def test_the_hardware_and_the_label_both_decide() -> None:
    """A node gets a pod only if it has one of the hardware labels and the label that names the pod's configuration."""
    objects = charted(CONFIGURATIONS, {"requireHardware": ["gpu"]})
    present = {"nvidia.com/gpu.present": "true"}
    assert _select(objects, present) == [NAME]
    assert _select(objects, present | {LABEL: "default"}) == [f"{NAME}-default"]
    assert _select(objects, {}) == _select(objects, {LABEL: "default"}) == []
