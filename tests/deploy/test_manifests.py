"""The manifests in container/: what a cluster gets from them, and what it can rely on."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hub import CDI_DIRECTORY as CDI
from hub._version import __version__
from hub.base.exits import Exit
from hub.base.featurefiles import FEATURES_DIR, FEATURES_VARIABLE
from hub.base.paths import INSTANCE_NAME, PLUGIN_DIR, RUN_DIR
from hub.cli.commands.run import run as dphub_run
from hub.kubelet.podresources import pod_resources_socket
from hub.reset.messages import ResetLimits
from hub.supervisor.circus.watcher import KILL_SECONDS
from hub.supervisor.config.watchers import read_config, shipped_config
from hub.supervisor.http.server import split_address
from hub.supervisor.reporter import NODE_NAME_VARIABLE
from plugins.gpu.mps.paths import shm_directory
from plugins.gpu.settings.environment import VARIABLES
from plugins.gpu.settings.file import Flags
from plugins.ib.deviceinfo import DIRECTORY as DEVICE_INFO
from plugins.ib.discovery.routes import VARIABLE as NODE_NET
from tests.deploy.manifest_tools import (
    ALL_OPTIONS,
    CHART,
    COMPONENTS,
    CONTAINER,
    NAME,
    OVERLAYS,
    VALUES,
    Object,
    charted,
    comparable,
    container,
    default,
    kustomized,
    mounts,
    only,
    overlay_with,
    pod,
    run,
    with_components,
)
from tests.deploy.manifest_validity import mistakes

CASES = [
    *((overlay, [name]) for overlay in OVERLAYS for name in COMPONENTS),
    *((overlay, [*ALL_OPTIONS]) for overlay in OVERLAYS),
    *((overlay, []) for overlay in OVERLAYS),
]
BASE = CONTAINER / "base"
PROBE = "/opt/dphub/bin/dphub-probe"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
SOURCES = [path for path in sorted(CONTAINER.rglob("*.yaml")) if path.parents[0].name != "templates"]

PRIVILEGES = {
    *("privileged", "runAsUser", "hostPID", "hostNetwork", "hostIPC", "seLinuxOptions"),
    *("allowPrivilegedContainer", "allowPrivilegeEscalation", "allowHostDirVolumePlugin"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a copy of what kustomize reads, for overlays of the test."""
    copy = tmp_path_factory.mktemp("container")
    for name in ("base", "components", "overlays"):
        shutil.copytree(CONTAINER / name, copy / name)
    return copy


@pytest.mark.parametrize(
    ("overlay", "components"), CASES, ids=lambda part: part if isinstance(part, str) else "+".join(part) or "alone"
)
def test_kustomize_and_helm_make_the_same(tree: Path, overlay: str, components: list[str]) -> None:
    """An overlay with any component, and the chart with the values for it, are valid and equal."""
    kustomize = with_components(tree, overlay, components)
    helm = charted(OVERLAYS[overlay], *(VALUES[name] for name in components))
    assert mistakes([*kustomize, *helm]) == []
    assert comparable(kustomize) == comparable(helm)


def test_every_component_has_its_values() -> None:
    """This ensures that the test above leaves no component out; the overlay names them all, too."""
    assert sorted(VALUES) == COMPONENTS
    overlay = (CONTAINER / "overlays" / "kubernetes" / "kustomization.yaml").read_text()
    assert re.findall(r"#   - \.\./\.\./components/(\S+)", overlay) == COMPONENTS


def test_mistakes_are_found() -> None:
    """An unknown key is an error, both in Kubernetes' own objects and in those of other projects."""
    daemonset = only(charted(), "DaemonSet")
    daemonset["spec"]["template"]["spec"]["hostPid"] = True
    constraints = only(charted(OVERLAYS["openshift"]), "SecurityContextConstraints")
    constraints["allowHostPid"] = True
    del constraints["allowHostIPC"]
    found = mistakes([daemonset, constraints])
    assert len(found) == 4
    assert all("hostpid" in problem.lower() or "allowHostIPC" in problem for problem in found)


def test_what_a_cluster_gets() -> None:
    """It gets a namespace, an account without permissions, the files and a DaemonSet; on OpenShift, one permission."""
    kinds = {each["kind"] for each in default()}
    assert kinds == {"Namespace", "ServiceAccount", "ConfigMap", "DaemonSet"}
    openshift = {each["kind"] for each in kustomized(CONTAINER / "overlays" / "openshift")}
    assert openshift - kinds == {"SecurityContextConstraints", "Role", "RoleBinding"}
    assert only(default(), "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod(default())["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_allows_the_pods_without_a_warning(overlay: str) -> None:
    """It allows them in all three modes of the Pod Security Standards; Helm's notes have the same labels."""
    labels = only(kustomized(CONTAINER / "overlays" / overlay), "Namespace")["metadata"]["labels"]
    modes = {name: level for name, level in labels.items() if name.startswith("pod-security.kubernetes.io/")}
    assert modes == {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "warn", "audit")}
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    assert all(f"{name}={level}" in notes for name, level in modes.items())


def test_openshift_grants_the_account_one_thing() -> None:
    """The account may use the constraints, which allow what the pods need, and may do nothing else."""
    objects = kustomized(CONTAINER / "overlays" / "openshift")
    (rule,) = only(objects, "Role")["rules"]
    constraints = only(objects, "SecurityContextConstraints")
    assert (rule["verbs"], rule["resourceNames"]) == (["use"], [constraints["metadata"]["name"]])
    (subject,) = only(objects, "RoleBinding")["subjects"]
    assert (subject["kind"], subject["name"]) == ("ServiceAccount", pod(objects)["serviceAccountName"])
    assert {kind for volume in pod(objects)["volumes"] for kind in volume if kind != "name"} == set(
        constraints["volumes"]
    )


def test_the_version() -> None:
    """The image and the labels have this version, and the image has no registry: the overlay names one."""
    daemonset = only(default(), "DaemonSet")
    assert container(default())["image"] == f"{NAME}:{__version__}"
    for metadata in (daemonset["metadata"], daemonset["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/version"] == __version__


def test_no_registry_and_no_latest() -> None:
    """No file names a registry to pull from, or a version whose content can change."""
    for source in (path for path in CONTAINER.rglob("*") if path.is_file() and path.suffix in {".yaml", ".tpl"}):
        for image in re.findall(
            r"^[\s#-]*(?:image|repository|newName|newTag): *(.*)$", source.read_text(), re.MULTILINE
        ):
            assert not re.search(r"latest|[a-z0-9]\.[a-z]{2,}/|:\d+/", image), f"{source}: {image}"


COMMENTED = {
    key: re.sub("^# ", "", text, flags=re.MULTILINE)
    for text, key in re.findall(
        r"^(# (\w+):\n(?:#   .*\n)+)",
        (CONTAINER / "overlays" / "kubernetes" / "kustomization.yaml").read_text(),
        re.MULTILINE,
    )
}
"""What the overlay shows in comments, by its key, without the `# `."""


def test_what_is_commented_out_can_be_used(tree: Path) -> None:
    """Each part is valid in its place, alone and with all others; a key that is there twice is invalid YAML."""
    assert COMMENTED.keys() == {"components", "images", "configMapGenerator"}
    source = tree / "overlays" / "kubernetes"
    for parts in (*([key] for key in COMMENTED), COMMENTED.keys()):
        directory = tree / "overlays" / "-".join(["uncommented", *parts])
        shutil.copytree(source, directory)
        (directory / "gpu.yaml").write_text("version: v1\n")
        text = (source / "kustomization.yaml").read_text()
        for key in parts:
            commented = re.sub("^", "# ", COMMENTED[key].rstrip("\n"), flags=re.MULTILINE)
            text = text.replace(commented, COMMENTED[key].rstrip("\n"))
        # The one component that cannot be combined with all the others.
        text = re.sub(r"^  - \S+/unprivileged .*\n", "", text, flags=re.MULTILINE)
        (directory / "kustomization.yaml").write_text(text)
        assert yaml.safe_load(text).keys() >= set(parts)
        assert mistakes(kustomized(directory)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_custom_overlay(tree: Path, overlay: str) -> None:
    """As the overlay's comments say, it can set the namespace, the registry and the files; all objects follow."""
    directory = tree / "overlays" / f"own-{overlay}"
    shutil.copytree(tree / "overlays" / overlay, directory)
    (directory / "gpu.yaml").write_text("version: v1\nflags: {migStrategy: mixed}\n")
    text = (directory / "kustomization.yaml").read_text()
    text = re.sub(f"^(# )?namespace: {NAME}$", "namespace: devices", text, flags=re.MULTILINE)
    text += "".join(COMMENTED[key] for key in ("images", "configMapGenerator")).replace("REGISTRY", "registry.example")
    (directory / "kustomization.yaml").write_text(text)
    objects = kustomized(directory)
    assert mistakes(objects) == []
    assert container(objects)["image"] == f"registry.example/{NAME}:{__version__}"
    files = only(objects, "ConfigMap")["data"]
    assert files["gpu.yaml"] == "version: v1\nflags: {migStrategy: mixed}\n"
    assert files["circus.ini"] == (BASE / "circus.ini").read_text()
    namespaces = {each["metadata"].get("namespace", "devices") for each in objects}
    assert namespaces == {"devices"}
    assert only(objects, "Namespace")["metadata"]["name"] == "devices"
    subjects = [subject for each in objects for subject in each.get("subjects", [])]
    assert {subject["namespace"] for subject in subjects} <= {"devices"}


def test_the_files_are_right(tmp_path: Path) -> None:
    """`dphub check` accepts circus.ini and the file of every plugin, and there is no file that no plugin reads."""
    files = only(default(), "ConfigMap")["data"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (volume,) = [each["name"] for each in pod(default())["volumes"] if "configMap" in each]
    (directory,) = [each["mountPath"] for each in container(default())["volumeMounts"] if each["name"] == volume]
    # Files are named without a directory, so what is right here is right there.
    assert container(default())["workingDir"] == directory
    command, option, config = container(default())["args"]
    assert (command, option) == ("run", "--config")
    done = subprocess.run(
        [sys.executable, "-m", "hub", "check", config.removeprefix(f"{directory}/")],
        cwd=tmp_path,
        env=_environment(default()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    plugins = read_config(BASE / "circus.ini")
    assert {plugin.name for plugin in plugins} == {plugin.name for plugin in read_config(shipped_config())}
    assert [plugin.name for plugin in plugins if plugin.autostart] == ["gpu", "ib"]
    assert done.stdout.splitlines() == [
        *(f"{plugin.name}: ok{'' if plugin.autostart else ' (autostart = false)'}" for plugin in plugins),
        f"circus.ini: ok, {len(plugins)} plugins",
    ]
    assert set(re.findall(r"--config (\S+)", files["circus.ini"])) == files.keys() - {"circus.ini"}


def _environment(objects: list[Object]) -> dict[str, str]:
    variables = container(objects)["env"]
    return {variable["name"]: variable.get("value", "a-pod") for variable in variables} | {
        "PYTHONPATH": str(CONTAINER.parent)
    }


def test_the_variables_are_known(tree: Path) -> None:
    """Each variable is one that `dphub run` or a plugin reads."""
    known = {option.envvar for option in dphub_run.params} | VARIABLES.keys() | {NODE_NET, NODE_NAME_VARIABLE}
    for components in ([], ALL_OPTIONS):
        assert _environment(with_components(tree, "kubernetes", components)).keys() - {"PYTHONPATH"} <= known


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
        assert split_address(_environment(objects)["DPHUB_HTTP"]) == ("", port["containerPort"])
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
    """It selects the hub's pods, allows one namespace to reach one port, and allows no connection from the pods."""
    objects = with_components(tree, "kubernetes", ["network-policy"])
    policy = only(objects, "NetworkPolicy")["spec"]
    assert policy["podSelector"] == only(objects, "DaemonSet")["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert rule["ports"] == [{"port": port["name"]} for port in container(objects)["ports"]]
    assert policy["egress"] == []


def test_an_upgrade_leaves_no_gap() -> None:
    """On every node, the new pod is ready, at two probes in a row, before the old one ends.

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
    """It has more than twice as long as its slowest plugin, which may be stopped during its own restart."""
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
    """The directories of the node are mounted at the paths that the code has, under every kubelet's root.

    A kubelet's plugin directory does not follow its root: its path is a constant (pkg/kubelet/cm/devicemanager).
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


def test_what_the_pod_may_write_to(tree: Path) -> None:
    """It may write only where it has to: not to its own file system, and with a component, only to the one for that."""
    assert container(default())["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {path for path, mount in mounts(default()).items() if not mount.get("readOnly")}
    assert writable == {str(PLUGIN_DIR), str(RUN_DIR), CDI}
    for component, path in {"resets": "/sys", "multus": DEVICE_INFO, "node-labels": str(FEATURES_DIR)}.items():
        found = mounts(with_components(tree, "kubernetes", [component]))
        assert {path for path, mount in found.items() if not mount.get("readOnly")} == {*writable, path}


def test_labels_are_written_where_they_are_read(tree: Path) -> None:
    """With the component, they go to the node's directory, otherwise nowhere; the account gets no more permissions."""
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
    """The kubelet's directories must already exist, so such a pod does not start; other directories are created."""
    types = {path: mount["hostPath"]["type"] for path, mount in mounts(default()).items()}
    made = {path for path, kind in types.items() if kind == "DirectoryOrCreate"}
    assert made == {str(RUN_DIR), CDI}
    assert set(types.values()) == {"Directory", "DirectoryOrCreate"}


def test_an_unprivileged_pod_has_no_privilege_at_all(tree: Path) -> None:
    """It has no capability, no way to get one, and no access to all the files of the node."""
    for overlay in OVERLAYS:
        objects = with_components(tree, overlay, ["unprivileged"])
        context = container(objects)["securityContext"]
        assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "/" not in {mount["hostPath"]["path"] for mount in mounts(objects).values()}
    constraints = only(objects, "SecurityContextConstraints")
    assert (constraints["allowPrivilegedContainer"], constraints["allowPrivilegeEscalation"]) == (False, False)
    assert constraints["requiredDropCapabilities"] == ["ALL"]


@pytest.mark.parametrize("components", [[], ALL_OPTIONS, ["unprivileged"]], ids="+".join)
def test_the_constraints_allow_what_the_pod_has_and_no_more(tree: Path, components: list[str]) -> None:
    """They allow no added capability, no group but root's, and no user or seccomp profile other than the pod's own."""
    objects = with_components(tree, "openshift", components)
    constraints, context = only(objects, "SecurityContextConstraints"), container(objects)["securityContext"]
    assert constraints["runAsUser"] == {"type": "MustRunAs", "uid": context["runAsUser"]}
    assert constraints["allowPrivilegedContainer"] is context["privileged"]
    assert constraints["allowHostPID"] is pod(objects).get("hostPID", False)
    for groups in ("fsGroup", "supplementalGroups"):
        assert constraints[groups] == {"type": "MustRunAs", "ranges": [{"min": 0, "max": 0}]}
        assert groups not in pod(objects)["securityContext"]
    assert (constraints["allowedCapabilities"], constraints["defaultAddCapabilities"]) == ([], [])
    assert constraints["seccompProfiles"] == ["runtime/default"]


@pytest.mark.parametrize("components", [[], *([name] for name in COMPONENTS)], ids="+".join)
def test_the_runtimes_seccomp_profile_applies_to_what_is_not_privileged(tree: Path, components: list[str]) -> None:
    """The pod has it, so it also applies to a container that others add; no container replaces it."""
    spec = pod(with_components(tree, "kubernetes", components))
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert [each["name"] for each in spec["containers"] if "seccompProfile" in each["securityContext"]] == []


@pytest.mark.parametrize("other", ["mps", "resets"])
@pytest.mark.parametrize("order", [1, -1])
def test_what_needs_privileges_is_refused_with_unprivileged(tree: Path, other: str, order: int) -> None:
    """In either order kustomize stops with an error that names both; Helm does so, too (see test_chart)."""
    components = ["unprivileged", other][::order]
    done = run("kubectl", "kustomize", overlay_with(tree, "kubernetes", components))
    assert done.returncode != 0
    assert f"unprivileged-cannot-be-combined-with-{other}" in done.stderr


def test_every_privilege_has_a_reason() -> None:
    """There is a comment above each directory of the node, the way it is mounted, and each privilege of a pod."""
    unexplained = []
    explained = 0
    for source in SOURCES:
        lines = source.read_text().splitlines()
        for node in yaml.compose_all(source.read_text()):
            for what, line in _privileges(node):
                explained += 1
                if not lines[line - 1].strip().startswith("#"):
                    unexplained.append(f"{source.relative_to(CONTAINER)}: {what}")
    assert unexplained == []
    assert explained > 20


def _privileges(node: yaml.Node | None) -> Iterator[tuple[str, int]]:
    """Yield what needs a reason, and its line."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _privileges(each)
    elif isinstance(node, yaml.MappingNode):
        pairs = {key.value: value for key, value in node.value}
        name = pairs.get("name", pairs.get("mountPath"))
        if "hostPath" in pairs or ("mountPath" in pairs and name.value != "config"):
            yield f"{'volume' if 'hostPath' in pairs else 'mount'} {name.value}", node.start_mark.line
        for key, value in node.value:
            if key.value in PRIVILEGES and value.value not in ("false", []):
                yield key.value, key.start_mark.line
            yield from _privileges(value)


def test_the_alerts_are_the_projects() -> None:
    """The PrometheusRule has the alerts of container/monitoring/rules.yaml."""
    rules = yaml.safe_load((CONTAINER / "monitoring" / "rules.yaml").read_text())
    copy = yaml.safe_load((CONTAINER / "components" / "alerts" / "prometheus-rule.yaml").read_text())
    assert copy["spec"] == rules
