"""The DRA process's permissions and its token in the manifests."""

import shutil
from pathlib import Path

import pytest
import yaml

from hub.base.paths import PLUGIN_DIR
from hub.dra.__main__ import ACCOUNT_DIR
from hub.supervisor.config.watchers import read_config
from tests.deploy.manifest_tools import (
    CONTAINER,
    OVERLAYS,
    Object,
    Values,
    charted,
    comparable,
    container,
    kustomized,
    mounts,
    only,
    pod,
)
from tests.deploy.manifest_validity import mistakes
from tests.docs.docs_tools import page

COMPONENT = CONTAINER / "dra"
DRA: Values = {"dra": {"enabled": True}}
CLASS = {"driver": "stub.dphub.dev", "resource": "example.com/stub"}
SECTION = """
# Reads claims and publishes devices for the plugins whose section has the line `api = dra`.
[watcher:dra]
cmd = python -m hub.dra
"""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """Return the objects that a cluster gets from an overlay with the component, as the page says."""
    return _with_component(tmp_path_factory.mktemp("container"), "kubernetes")


def _with_component(tree: Path, overlay: str) -> list[Object]:
    for name in ("base", "overlays", "dra"):
        shutil.copytree(CONTAINER / name, tree / name)
    (tree / "own").mkdir()
    text = f"resources: [../overlays/{overlay}]\ncomponents: [../dra]\n"
    (tree / "own" / "kustomization.yaml").write_text(text)
    return kustomized(tree / "own")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_makes_the_same(overlay: str, tmp_path: Path) -> None:
    """The permissions, the policy, the token and the directories match the manifests."""
    made = charted(DRA, OVERLAYS[overlay])
    assert mistakes(made) == []
    assert comparable(made) == comparable(_with_component(tmp_path, overlay))


def test_the_chart_has_nothing_of_it_by_default() -> None:
    """By default, the chart has no permission, token, directory or section for the component."""
    assert "dra" not in yaml.safe_dump_all(charted()).replace("drain", "")


def test_the_classes_of_the_chart() -> None:
    """A device class is the same as in the manifests, but can have a different name."""
    named = {"name": "gpu", "driver": "gpu.example.com", "resource": "nvidia.com/gpu"}
    first, second = [
        each for each in charted({"dra": {"enabled": True, "deviceClasses": [CLASS, named]}}) if _is_class(each)
    ]
    assert first == yaml.safe_load((COMPONENT / "deviceclass.yaml").read_text())
    assert second["metadata"]["name"] == "gpu"
    assert second["spec"]["extendedResourceName"] == "nvidia.com/gpu"


def _is_class(each: Object) -> bool:
    return bool(each["kind"] == "DeviceClass")


def test_a_section_in_the_users_own_file() -> None:
    """The chart does not repeat a section for the component that is already in the user's circus.ini."""
    own: Object = {**DRA, "config": {"circusIni": "[watcher:x]\ncmd = python -m hub.dra\n"}}
    assert only(charted(own), "ConfigMap")["data"]["circus.ini"] == own["config"]["circusIni"]


def test_they_are_valid(objects: list[Object]) -> None:
    """An API server accepts every object of an overlay with the component."""
    assert mistakes(objects) == []


def test_the_permissions_are_those_that_are_used(objects: list[Object]) -> None:
    """The component can read and write nothing else in the cluster."""
    permissions = {
        (group, resource): set(rule["verbs"])
        for rule in only(objects, "ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert permissions == {
        ("resource.k8s.io", "resourceclaims"): {"get"},
        ("resource.k8s.io", "resourceslices"): {"get", "list", "watch", "create", "update", "delete"},
        ("", "nodes"): {"get"},
    }


def test_a_policy_denies_the_slices_of_other_nodes(objects: list[Object]) -> None:
    """The policy applies to every kind of write, by this account only, and an error in it denies the write."""
    spec = only(objects, "ValidatingAdmissionPolicy")["spec"]
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert (rule["resources"], set(rule["operations"])) == (["resourceslices"], {"CREATE", "UPDATE", "DELETE"})
    assert spec["failurePolicy"] == "Fail"
    (condition,) = spec["matchConditions"]
    account = pod(objects)["serviceAccountName"]
    assert f"^system:serviceaccount:[^:]+:([^:]*-)?{account}(-[^:]*)?$" in condition["expression"]
    assert only(objects, "ValidatingAdmissionPolicyBinding")["spec"]["validationActions"] == ["Deny"]


def test_the_token_is_where_no_library_looks(objects: list[Object]) -> None:
    """The token is mounted only with the component; it is bound to the pod, short-lived, and readable by root only."""
    mounts = {each["name"]: Path(each["mountPath"]) for each in container(objects)["volumeMounts"]}
    assert mounts["dra-account"] == ACCOUNT_DIR
    (volume,) = [each for each in pod(objects)["volumes"] if each["name"] == "dra-account"]
    assert volume["projected"]["defaultMode"] == 0o400
    assert pod(objects)["automountServiceAccountToken"] is False


def test_what_the_pod_may_write_to(objects: list[Object]) -> None:
    """The pod may write to two more kubelet directories than without the component, as the page on security says."""
    writable = {path for path, mount in mounts(objects).items() if not mount.get("readOnly")}
    kubelet = PLUGIN_DIR.parent
    more = {str(kubelet / "plugins"), str(kubelet / "plugins_registry")}
    base = kustomized(CONTAINER / "overlays" / "kubernetes")
    assert writable == more | {path for path, mount in mounts(base).items() if not mount.get("readOnly")}
    assert all(f"`{path}`" in page("security") for path in more)


def test_no_secret_is_mounted(objects: list[Object]) -> None:
    """The volumes are the ConfigMap, directories on the node, and the token."""
    kinds = {kind for volume in pod(objects)["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"configMap", "hostPath", "projected"}


def test_the_kubelets_directories_have_the_same_path_in_the_pod(objects: list[Object]) -> None:
    """The paths must be equal because the kubelet dials the path that the driver names."""
    mounts = {each["name"]: each["mountPath"] for each in container(objects)["volumeMounts"]}
    paths = {each["name"]: each["hostPath"]["path"] for each in pod(objects)["volumes"] if "hostPath" in each}
    for name in ("plugins-registry", "kubelet-plugins"):
        assert mounts[name] == paths[name]


def test_its_circus_ini_is_that_of_the_manifests_with_one_more_section() -> None:
    """The hub can read this circus.ini, and finds the section."""
    base = (CONTAINER / "base" / "circus.ini").read_text()
    assert (COMPONENT / "circus.ini").read_text() == base + SECTION
    assert "dra" in {plugin.name for plugin in read_config(COMPONENT / "circus.ini")}
