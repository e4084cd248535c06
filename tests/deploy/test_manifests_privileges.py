"""The privileges of the manifests' pod: each is needed and has a reason, and the account may use no others."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hub import CDI_DIRECTORY as CDI
from hub.base.featurefiles import FEATURES_DIR
from hub.base.paths import PLUGIN_DIR, RUN_DIR
from plugins.ib.deviceinfo import DIRECTORY as DEVICE_INFO
from tests.deploy.manifest_tools import (
    ALL_OPTIONS,
    COMPONENTS,
    CONTAINER,
    OVERLAYS,
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

NVSENTINEL = "/var/run/nvsentinel"
SOURCES = [path for path in sorted(CONTAINER.rglob("*.yaml")) if path.parents[0].name != "templates"]
PRIVILEGES = {
    *("privileged", "runAsUser", "hostPID", "hostNetwork", "hostIPC", "seLinuxOptions"),
    *("allowPrivilegedContainer", "allowPrivilegeEscalation", "allowHostDirVolumePlugin"),
}


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


def test_what_the_pod_may_write_to(tree: Path) -> None:
    """The pod may write only where it has to, not to its own file system; a component adds only its own directory."""
    assert container(default())["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {path for path, mount in mounts(default()).items() if not mount.get("readOnly")}
    assert writable == {str(PLUGIN_DIR), str(RUN_DIR), CDI}
    options = {"resets": "/sys", "multus": DEVICE_INFO, "node-labels": str(FEATURES_DIR), "nvsentinel": NVSENTINEL}
    for component, path in options.items():
        found = mounts(with_components(tree, "kubernetes", [component]))
        assert {path for path, mount in found.items() if not mount.get("readOnly")} == {*writable, path}


def test_an_unprivileged_pod_has_no_privilege_at_all(tree: Path) -> None:
    """The pod has no capability, no way to get one, and no mount of the node's whole file system."""
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
    """They allow no added capabilities, no group except root's, and only the pod's own user and seccomp profile."""
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
    """The profile is set for the pod, so it also applies to containers that others add; no container replaces it."""
    spec = pod(with_components(tree, "kubernetes", components))
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert [each["name"] for each in spec["containers"] if "seccompProfile" in each["securityContext"]] == []


@pytest.mark.parametrize("other", ["mps", "resets"])
@pytest.mark.parametrize("order", [1, -1])
def test_what_needs_privileges_is_refused_with_unprivileged(tree: Path, other: str, order: int) -> None:
    """In either order, kustomize stops with an error that names both; Helm does so, too (see test_chart)."""
    components = ["unprivileged", other][::order]
    done = run("kubectl", "kustomize", overlay_with(tree, "kubernetes", components))
    assert done.returncode != 0
    assert f"unprivileged-cannot-be-combined-with-{other}" in done.stderr


def test_every_privilege_has_a_reason() -> None:
    """Each directory on the node, the way it is mounted, and each privilege of a pod has a comment above it."""
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
