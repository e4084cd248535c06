"""docs/security.md: what the pod may do is what the manifests let it do."""

import re

import yaml

from hub.supervisor.http import server as web
from tests.deploy.manifest_tools import CHART, KUBERNETES, OPENSHIFT, VALUES, charted, mounts, only, pod
from tests.docs.docs_tools import codes, page, rows

OPTIONS = [VALUES["mps"], VALUES["resets"]]


def test_every_directory_of_the_node_is_there() -> None:
    """With the right that the pod has to it, without options and with all."""
    documented = {}
    for paths, right, _ in rows("security", "directory of the node", "in the pod", "for"):
        for path in codes(paths):
            documented[path] = right
    plain = {mount["hostPath"]["path"]: mount for mount in mounts(charted()).values()}
    full = {mount["hostPath"]["path"]: mount for mount in mounts(charted(*OPTIONS)).values()}
    assert documented.keys() == full.keys()
    for path, right in documented.items():
        assert right.startswith("read-only") == bool(full[path].get("readOnly")) or path == "/sys", path
        assert ("with `mps`" in right) == (path not in plain), path
    assert documented["/sys"] == "read-only; writable with `resets`"
    assert (plain["/sys"]["readOnly"], full["/sys"]["readOnly"]) == (True, False)


def test_the_privileges_are_there() -> None:
    """What the pod has, and with which component."""
    table = rows("security", "in the manifests", "why", "without it")
    named = {code for row in table for code in codes(row[0])}
    assert {"privileged: true", "hostPID: true", pod(charted())["priorityClassName"]} <= named
    assert "hostPID" not in pod(charted())
    assert pod(charted(VALUES["resets"]))["hostPID"] is True
    constraints = only(charted(OPENSHIFT), "SecurityContextConstraints")
    assert constraints["allowHostNetwork"] is False


def test_what_the_pod_never_has() -> None:
    """No manifest gives it the network, the IPC namespace or a port of the node, as the page says."""
    (said,) = re.findall("^There is no (.*), whichever components you use", page("security"), re.MULTILINE)
    assert codes(said) == ["hostNetwork", "hostIPC", "hostPort"]
    for values in (KUBERNETES, *VALUES.values()):
        text = yaml.safe_dump(only(charted(values), "DaemonSet"))
        assert not [name for name in codes(said) if name in text]


def test_the_configuration_is_there() -> None:
    """The page says where it is mounted, and that it is mounted read-only."""
    (right,) = [row[1] for row in rows("security", "directory of the node", "in the pod", "for") if "none:" in row[0]]
    (hub,) = pod(charted())["containers"]
    (config,) = [mount for mount in hub["volumeMounts"] if mount["name"] == "config"]
    assert (codes(right), right.startswith("read-only")) == ([config["mountPath"]], config["readOnly"])


def test_a_digest_can_be_said() -> None:
    """As the page says, with Helm; that it arrives is tested with the chart."""
    assert "`image.digest` with Helm" in page("security")
    assert "digest" in yaml.safe_load((CHART / "values.yaml").read_text())["image"]


def test_nothing_asks_the_cluster_anything() -> None:
    """No token is mounted, and outside OpenShift the account has no rights at all."""
    assert pod(charted())["automountServiceAccountToken"] is False
    assert {each["kind"] for each in charted()}.isdisjoint({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def test_the_bounds_of_http_are_those_of_the_code() -> None:
    """Connections, and how long a silent one is kept."""
    (said,) = re.findall(r"\((\d+) connections, \d+ KiB of headers, (\d+) seconds of silence\)", page("security"))
    assert said == (str(web.CONNECTIONS), f"{web.IDLE_SECONDS:g}")
