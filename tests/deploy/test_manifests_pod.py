"""The pod of the manifests: its variables, its mounts, its ports, and its time limits."""

import re
from pathlib import Path

from hub import CDI_DIRECTORY as CDI
from hub.base.featurefiles import FEATURES_DIR, FEATURES_VARIABLE
from hub.base.paths import INSTANCE_NAME, PLUGIN_DIR, RUN_DIR
from hub.cli.commands.run import run as dphub_run
from hub.kubelet.podresources import pod_resources_socket
from hub.reset.messages import ResetLimits
from hub.supervisor.circus.watcher import KILL_SECONDS
from hub.supervisor.config.watchers import read_config
from hub.supervisor.http.server import split_address
from hub.supervisor.reporter import NODE_NAME_VARIABLE
from plugins.gpu.mps.paths import shm_directory
from plugins.gpu.settings.environment import VARIABLES
from plugins.gpu.settings.file import Flags
from plugins.ib.deviceinfo import DIRECTORY as DEVICE_INFO
from plugins.ib.discovery.routes import VARIABLE as NODE_NET
from tests.deploy.manifest_tools import (
    ALL_OPTIONS,
    CONTAINER,
    container,
    default,
    environment,
    mounts,
    only,
    pod,
    with_components,
)

PROBE = "/opt/dphub/bin/dphub-probe"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def test_the_variables_are_known(tree: Path) -> None:
    """Each variable is one that `dphub run` or a plugin reads."""
    known = {option.envvar for option in dphub_run.params} | VARIABLES.keys() | {NODE_NET, NODE_NAME_VARIABLE}
    for components in ([], ALL_OPTIONS):
        assert environment(with_components(tree, "kubernetes", components)).keys() - {"PYTHONPATH"} <= known


def test_each_pod_is_a_hub_of_its_own_name(tree: Path) -> None:
    """An old and a new hub can therefore share a node; the name is the pod's, which is a valid name of a hub."""
    (name,) = [each for each in container(default())["env"] if each["name"] == "DPHUB_INSTANCE"]
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert INSTANCE_NAME.fullmatch(f"{only(default(), 'DaemonSet')['metadata']['name']}-x7k2p")
    for components in ([], ALL_OPTIONS):
        spec = pod(with_components(tree, "openshift", components))
        assert "hostNetwork" not in spec
        assert not [port for hub in spec["containers"] for port in hub["ports"] if "hostPort" in port]


def test_the_kubelet_and_prometheus_reach_the_hub(tree: Path) -> None:
    """Prometheus reaches it on every address of the pod, at the PodMonitor's port; probes never use the network."""
    for components in ([], ALL_OPTIONS):
        objects = with_components(tree, "kubernetes", components)
        hub = container(objects)
        (port,) = hub["ports"]
        assert split_address(environment(objects)["DPHUB_HTTP"]) == ("", port["containerPort"])
        assert {probe: hub[probe]["exec"]["command"] for probe in hub if probe.endswith("Probe")} == {
            "startupProbe": [PROBE, "/healthz"],
            "livenessProbe": [PROBE, "/healthz"],
            "readinessProbe": [PROBE, "/readyz"],
        }
        assert not {"httpGet", "tcpSocket", "grpc"} & {kind for each in PROBES for kind in hub[each]}
        assert f"/opt/dphub/bin/{Path(PROBE).name}" in (CONTAINER / "Containerfile").read_text()
    monitor = only(objects, "PodMonitor")["spec"]
    assert [(each["port"], each["path"]) for each in monitor["podMetricsEndpoints"]] == [(port["name"], "/metrics")]
    labels = only(objects, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()


def test_the_network_policy_admits_only_prometheus(tree: Path) -> None:
    """It selects the hub's pods, allows one namespace to reach one port, and forbids connections from the pods."""
    objects = with_components(tree, "kubernetes", ["network-policy"])
    policy = only(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"] == only(objects, "DaemonSet")["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert rule["ports"] == [{"port": port["name"]} for port in container(objects)["ports"]]
    assert policy["egress"] == []


def test_an_upgrade_leaves_no_gap() -> None:
    """On every node, the new pod has passed two readiness probes in a row before the old pod is terminated.

    With minReadySeconds instead, two changes within seconds can stop the rollout: the controller's delayed sync of a
    DaemonSet keeps only the earliest time (pkg/controller/daemon).
    """
    spec, readiness = only(default(), "DaemonSet")["spec"], container(default())["readinessProbe"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "minReadySeconds" not in spec
    assert (readiness["successThreshold"], readiness["periodSeconds"]) == (2, 5)


def test_mps_is_never_ended_by_an_upgrade(tree: Path) -> None:
    """The MPS daemons end with the pod, so only an administrator replaces a pod with MPS."""
    spec = only(with_components(tree, "kubernetes", ["mps"]), "DaemonSet")["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}


def test_the_hub_has_time_to_stop(tmp_path: Path) -> None:
    """The pod's grace period is over twice the slowest plugin's, as a plugin may be stopped during its own restart."""
    (tmp_path / "circus.ini").write_text(only(default(), "ConfigMap")["data"]["circus.ini"])
    slowest = max(plugin.graceful_timeout for plugin in read_config(tmp_path / "circus.ini")) + KILL_SECONDS
    assert pod(default())["terminationGracePeriodSeconds"] > 2 * slowest


def test_a_reset_cannot_end_the_pod() -> None:
    """The memory that a reset may take is within the pod's limit; its CPU time is not limited."""
    limits = dict(container(default())["resources"]["limits"])
    (gib,) = re.findall(r"^(\d+)Gi$", limits.pop("memory"))
    assert int(gib) << 30 > ResetLimits().memory + (512 << 20)
    assert limits == {}


def test_everything_is_where_the_hub_looks_for_it(tree: Path) -> None:
    """The node's directories are mounted at the paths that the code uses, for any root directory of the kubelet.

    The kubelet's plugin directory does not follow its root: its path is a constant (pkg/kubelet/cm/devicemanager).
    """
    for components, root in (([], "/var/lib/kubelet"), (ALL_OPTIONS, "/var/lib/k0s/kubelet")):
        found = mounts(with_components(tree, "kubernetes", components))
        on_node = {path: mount["hostPath"]["path"] for path, mount in found.items()}
        assert on_node[str(PLUGIN_DIR)] == str(PLUGIN_DIR)
        assert on_node[str(pod_resources_socket(PLUGIN_DIR).parent)] == f"{root}/pod-resources"
        assert on_node[str(RUN_DIR)] == str(RUN_DIR)
        assert on_node[CDI] == CDI
        assert on_node[Flags().plugin.container_driver_root] == ("/run/nvidia/driver" if components else "/")
        assert (on_node["/dev"], on_node["/sys"]) == ("/dev", "/sys")
    assert on_node[Flags().mps_root] == Flags().mps_root
    assert on_node[DEVICE_INFO] == DEVICE_INFO
    assert on_node["/dev/shm"] == shm_directory(Flags().mps_root)  # noqa: S108 - the pod's


def test_labels_are_written_where_they_are_read(tree: Path) -> None:
    """With the component, labels go to the node's directory, otherwise nowhere; the account gets no new permissions."""
    objects = with_components(tree, "kubernetes", ["node-labels"])
    (directory,) = [each["value"] for each in container(objects)["env"] if each["name"] == FEATURES_VARIABLE]
    assert mounts(objects)[directory]["hostPath"]["path"] == directory == str(FEATURES_DIR)
    assert FEATURES_VARIABLE not in {each["name"] for each in container(default())["env"]}
    assert {each["kind"] for each in objects} == {each["kind"] for each in default()}


def test_the_runtime_writes_nothing_into_the_nodes_dev() -> None:
    """The file for the container's last message is outside the node's /dev, which is mounted read-only."""
    message = Path(container(default())["terminationMessagePath"])
    assert not any(message.is_relative_to(path) for path in mounts(default()))


def test_a_wrong_kubelet_root_is_an_error() -> None:
    """The kubelet's directories must already exist, or the pod does not start; other directories are created."""
    types = {path: mount["hostPath"]["type"] for path, mount in mounts(default()).items()}
    made = {path for path, kind in types.items() if kind == "DirectoryOrCreate"}
    assert made == {str(RUN_DIR), CDI}
    assert set(types.values()) == {"Directory", "DirectoryOrCreate"}
