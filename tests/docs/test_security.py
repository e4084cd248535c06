"""docs/security.md: it describes what the manifests let the pod do, and its tables name tests."""

import re
from importlib.metadata import distribution

import yaml

from scripts import lock
from tests.deploy.manifest_tools import CHART, KUBERNETES, OPENSHIFT, VALUES, charted, mounts, only, pod
from tests.docs.docs_tools import ROOT, codes, page, rows
from tests.docs.security_claims import NO_CLAIMS, SHOWN_BY

MOUNTING = ("amd-exporter", "mps", "multus", "node-labels", "nvsentinel", "udev", "xpumd")
OPTIONS = [VALUES[name] for name in (*MOUNTING, "resets")]


def test_every_directory_of_the_node_is_documented() -> None:
    """Each one has the pod's access to it, without options and with all of them."""
    documented = {}
    for paths, right, *_ in rows("security", "directory on the node", "in the pod", "for", "without it"):
        for path in codes(paths):
            documented[path] = right
    plain = {mount["hostPath"]["path"]: mount for mount in mounts(charted()).values()}
    full = {mount["hostPath"]["path"]: mount for mount in mounts(charted(*OPTIONS)).values()}
    assert documented.keys() == full.keys()
    for path, right in documented.items():
        assert right.startswith("read-only") == bool(full[path].get("readOnly")) or path == "/sys", path
        optional = tuple(f"with `{name}`" for name in MOUNTING)
        assert right.endswith(optional) == (path not in plain), path
    assert documented["/sys"] == "read-only; writable with `resets`"
    assert (plain["/sys"]["readOnly"], full["/sys"]["readOnly"]) == (True, False)


def test_the_privileges_are_documented() -> None:
    """The page has the privileges of the pod, and those that each component adds."""
    table = rows("security", "in the manifests", "why", "without it")
    named = {code for row in table for code in codes(row[0])}
    assert {"privileged: true", "hostPID: true", pod(charted())["priorityClassName"]} <= named
    assert "hostPID" not in pod(charted())
    assert pod(charted(VALUES["resets"]))["hostPID"] is True
    constraints = only(charted(OPENSHIFT), "SecurityContextConstraints")
    assert constraints["allowHostNetwork"] is False


def test_what_the_pod_never_has() -> None:
    """No manifest gives it the node's network, IPC namespace or a port on the node, as the page says."""
    (said,) = re.findall("^There is no (.*), whichever components you use", page("security"), re.MULTILINE)
    assert codes(said) == ["hostNetwork", "hostIPC", "hostPort"]
    for values in (KUBERNETES, *VALUES.values()):
        text = yaml.safe_dump(only(charted(values), "DaemonSet"))
        assert not [name for name in codes(said) if name in text]


def test_the_configuration_is_documented() -> None:
    """The page says where it is mounted, and that the mount is read-only."""
    table = rows("security", "directory on the node", "in the pod", "for", "without it")
    (right,) = [row[1] for row in table if "none:" in row[0]]
    (hub,) = pod(charted())["containers"]
    (config,) = [mount for mount in hub["volumeMounts"] if mount["name"] == "config"]
    assert (codes(right), right.startswith("read-only")) == ([config["mountPath"]], config["readOnly"])


def test_a_digest_can_be_set() -> None:
    """The page shows how to set one with Helm; the chart's tests check that it reaches the pod."""
    assert "`image.digest` with Helm" in page("security")
    assert "digest" in yaml.safe_load((CHART / "values.yaml").read_text())["image"]


def test_nothing_calls_the_api_server() -> None:
    """No token is mounted, and outside OpenShift the account has no permissions at all."""
    assert pod(charted())["automountServiceAccountToken"] is False
    assert {each["kind"] for each in charted()}.isdisjoint({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def test_no_secret_is_mounted() -> None:
    """The pod's volumes are the ConfigMap and directories on the node; with the agent, also its token."""
    for values in (KUBERNETES, *VALUES.values()):
        kinds = {kind for volume in pod(charted(values))["volumes"] for kind in volume if kind != "name"}
        assert kinds == {"configMap", "hostPath"} | ({"projected"} if values is VALUES["agent"] else set())


def test_the_licences_are_those_of_the_packages() -> None:
    """One package is under MPL-2.0, and the page names it; all others are under the licences before it."""
    metadata = {name: distribution(name).metadata for name in lock.pins(lock.RUNTIME.read_text(encoding="utf-8"))}
    fields = ("License-Expression", "License", "Classifier")
    said = {
        name: " ".join(text for field in fields for text in each.get_all(field) or ())
        for name, each in metadata.items()
    }
    assert [name for name, text in said.items() if "MPL" in text] == ["asyncinotify"]
    others = [text for name, text in said.items() if name != "asyncinotify"]
    assert [text for text in others if not any(known in text for known in ("Apache", "BSD", "MIT", "PSF"))] == []
    assert "Apache-2.0, BSD, MIT or PSF licences, and asyncinotify under MPL-2.0" in page("security")


def test_every_attacker_has_a_row_and_a_test() -> None:
    """Each attacker in the table of threats is in the table of attacks, with tests, unless nothing stops them."""
    table = rows("security", "who", "from where", "what they reach", "what stops them")
    threats = [row[0] for row in table if not row[3].startswith("nothing: ")]
    attacks = rows("security", "who", "attack, and what happens", "test")
    assert all(codes(row[2]) for row in attacks)
    assert list(dict.fromkeys(row[0] for row in attacks)) == threats


def test_every_test_that_it_names_exists() -> None:
    """The file exists and has the function; this includes the tests for sentences outside of tables."""
    named = [name for name in codes(page("security")) if name.startswith("tests/")] + [*SHOWN_BY.values()]
    assert len(named) > 20
    for name in named:
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), name
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), name


def test_every_sentence_is_shown_by_a_test_or_claims_nothing() -> None:
    """Each such sentence is in one of the two lists, and each entry of the lists is on the page."""
    text = page("security").partition("\n## Limits\n")[0]
    prose = re.sub(r"^(#|\||- ).*$", "", text, flags=re.MULTILINE)
    paragraphs = [" ".join(paragraph.split()) for paragraph in prose.split("\n\n")]
    sentences = [each for paragraph in paragraphs for each in re.split(r"(?<=\.) (?=[A-Zk`])", paragraph) if each]
    known = [*SHOWN_BY, *NO_CLAIMS]
    assert [each for each in sentences if not each.startswith(tuple(known))] == []
    assert [start for start in known if not any(each.startswith(start) for each in sentences)] == []
