"""The manifests in container/: what a cluster gets from them, and what it can rely on."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hub._version import __version__
from hub.base.exits import Exit
from hub.supervisor.config.watchers import read_config, shipped_config
from tests.deploy.manifest_tools import (
    ALL_OPTIONS,
    CHART,
    COMPONENTS,
    CONTAINER,
    NAME,
    OVERLAYS,
    VALUES,
    charted,
    comparable,
    container,
    default,
    environment,
    kustomized,
    only,
    pod,
    with_components,
)
from tests.deploy.manifest_validity import mistakes

CASES = [
    *((overlay, [name]) for overlay in OVERLAYS for name in COMPONENTS),
    *((overlay, [*ALL_OPTIONS]) for overlay in OVERLAYS),
    *((overlay, []) for overlay in OVERLAYS),
]

BASE = CONTAINER / "base"


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
    """The test above leaves no component out, and the overlay names all of them, too."""
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
    """A cluster gets a namespace, an account with no permission (on OpenShift, one), files and a DaemonSet."""
    kinds = {each["kind"] for each in default()}
    assert kinds == {"Namespace", "ServiceAccount", "ConfigMap", "DaemonSet"}
    openshift = {each["kind"] for each in kustomized(CONTAINER / "overlays" / "openshift")}
    assert openshift - kinds == {"SecurityContextConstraints", "Role", "RoleBinding"}
    assert only(default(), "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod(default())["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_namespace_allows_the_pods_without_a_warning(overlay: str) -> None:
    """It allows the pods in all three modes of the Pod Security Standards; Helm's notes have the same labels."""
    labels = only(kustomized(CONTAINER / "overlays" / overlay), "Namespace")["metadata"]["labels"]
    modes = {name: level for name, level in labels.items() if name.startswith("pod-security.kubernetes.io/")}
    assert modes == {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "warn", "audit")}
    notes = (CHART / "templates" / "NOTES.txt").read_text()
    assert all(f"{name}={level}" in notes for name, level in modes.items())


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
"""The parts that are commented out in the overlay, by their keys, without the `# `."""


def test_what_is_commented_out_can_be_used(tree: Path) -> None:
    """Each part is valid in its place, alone and with all others; a duplicate key would be invalid YAML."""
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
        # This is the one component that cannot be combined with all the others.
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
    # Files are named without a directory, so what is valid in this directory is valid in the pod's.
    assert container(default())["workingDir"] == directory
    command, option, config = container(default())["args"]
    assert (command, option) == ("run", "--config")
    done = subprocess.run(
        [sys.executable, "-m", "hub", "check", config.removeprefix(f"{directory}/")],
        cwd=tmp_path,
        env=environment(default()),
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


def test_the_alerts_are_the_projects() -> None:
    """The PrometheusRule has the alerts of container/monitoring/rules.yaml."""
    rules = yaml.safe_load((CONTAINER / "monitoring" / "rules.yaml").read_text())
    copy = yaml.safe_load((CONTAINER / "components" / "alerts" / "prometheus-rule.yaml").read_text())
    assert copy["spec"] == rules
