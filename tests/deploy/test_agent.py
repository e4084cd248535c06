"""The agent's permissions and its token, in the manifests and in the chart."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from hub.agent.__main__ import ACCOUNT_DIR
from hub.agent.annotationcordons import CORDONED
from hub.agent.conditions import PREFIX
from hub.agent.eventsink import CONTROLLER
from hub.agent.settings import AgentSettings
from hub.supervisor.config.watchers import read_config
from tests.deploy.manifest_tools import (
    CONTAINER,
    VALUES,
    Object,
    charted,
    container,
    kustomized,
    only,
    overlay_with,
    pod,
)

COMPONENT = CONTAINER / "components" / "agent"
SECTION = """
# Passes information about the node's devices between the hub and the cluster.
[watcher:agent]
cmd = python -m hub.agent --config agent.yaml
"""


def _permissions(config: str = "") -> set[tuple[str, str, str]]:
    values = {"agent": {"enabled": True, **({"config": config} if config else {})}}
    return {
        (group, resource, verb)
        for rule in only(charted(values), "ClusterRole")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


NODE = {("", "nodes", "get")}
CONDITIONS = {("", "nodes/status", "patch")}
EVENTS = {("events.k8s.io", "events", "create"), ("events.k8s.io", "events", "patch"), ("", "pods", "get")}
CHANGES = {("", "nodes", "watch"), ("", "nodes", "patch")}
NOTHING = "events: false\nconditions: false\ncordons: false\n"


@pytest.mark.parametrize(
    ("config", "permissions"),
    [
        ("", NODE | CONDITIONS | EVENTS | CHANGES),
        (NOTHING, NODE),
        ("events: false\nconditions: false\n", NODE | CHANGES),
        (f"{NOTHING}startup_taint: dphub.dev/devices\n", NODE | CHANGES),
        ("cordons: false\nconditions: false\n", NODE | EVENTS),
        ("cordons: false\nevents: false\n", NODE | CONDITIONS),
    ],
)
def test_each_part_has_its_permissions(config: str, permissions: set[tuple[str, str, str]]) -> None:
    """With the chart, a part of the agent that is off gets no permissions."""
    assert _permissions(config) == permissions


def test_without_it_there_is_no_token_and_no_permission() -> None:
    """The agent is off by default, and the pod then has neither its token nor its permissions."""
    kinds = {each["kind"] for each in charted()}
    assert not {kind for kind in kinds if "Role" in kind or "Policy" in kind}
    assert "projected" not in yaml.safe_dump(pod(charted()))


def test_the_policies_cover_what_the_role_grants() -> None:
    """The policies cover every kind of write by this account only, and an error in a policy denies the request."""
    objects = charted(VALUES["agent"])
    policies = [each for each in objects if each["kind"] == "ValidatingAdmissionPolicy"]
    covered = {
        (group, resource)
        for policy in policies
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    written = {(group, resource) for group, resource, verb in _permissions() if verb in {"create", "patch"}}
    assert covered == written
    account = pod(objects)["serviceAccountName"]
    for policy in policies:
        spec = policy["spec"]
        assert spec["failurePolicy"] == "Fail"
        (condition,) = spec["matchConditions"]
        assert f"^system:serviceaccount:[^:]+:([^:]*-)?{account}(-[^:]*)?$" in condition["expression"]
    bindings = [each for each in objects if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert [each["spec"]["policyName"] for each in bindings] == [each["metadata"]["name"] for each in policies]
    assert all(each["spec"]["validationActions"] == ["Deny"] for each in bindings)


def test_the_policies_name_what_the_agent_writes() -> None:
    """The policies name the reasons of the agent's conditions, its annotation, and the reporter of its events."""
    text = (COMPONENT / "admission-policy.yaml").read_text()
    for name in (f"'{PREFIX}'", f"'{CORDONED}'", f"'{CONTROLLER}'"):
        assert name in text


def test_the_token_is_where_no_library_looks() -> None:
    """The agent finds the token; it is bound to the pod, short-lived, and readable by root only."""
    objects = charted(VALUES["agent"])
    (mount,) = [each for each in container(objects)["volumeMounts"] if each["name"] == "agent-account"]
    assert Path(mount["mountPath"]) == ACCOUNT_DIR
    assert not mount["mountPath"].startswith("/var/run/secrets/kubernetes.io")
    (volume,) = [each for each in pod(objects)["volumes"] if each["name"] == "agent-account"]
    assert volume["projected"]["defaultMode"] == 0o400
    sources = [source for each in volume["projected"]["sources"] for source in each]
    assert sources == ["serviceAccountToken", "configMap"]
    assert pod(objects)["automountServiceAccountToken"] is False


def test_the_files(tmp_path: Path) -> None:
    """circus.ini is the manifests' with one more section; agent.yaml is valid; the chart has the same files."""
    base = (CONTAINER / "base" / "circus.ini").read_text()
    assert (COMPONENT / "circus.ini").read_text() == base + SECTION
    data = only(charted(VALUES["agent"]), "ConfigMap")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    assert "agent" in {plugin.name for plugin in read_config(tmp_path / "circus.ini")}
    assert AgentSettings.read(tmp_path / "agent.yaml") == AgentSettings()
    assert AgentSettings.read(COMPONENT / "agent.yaml") == AgentSettings()


def test_a_section_in_the_users_own_file() -> None:
    """The chart does not repeat a section for the agent that is already in the user's circus.ini."""
    own: Object = {"agent": {"enabled": True}, "config": {"circusIni": "[watcher:x]\ncmd = python -m hub.agent\n"}}
    assert only(charted(own), "ConfigMap")["data"]["circus.ini"] == own["config"]["circusIni"]


def test_the_policies_cover_an_overlay_with_other_names(tmp_path: Path) -> None:
    """An overlay changes the account's name with a prefix or a suffix, but no name in an expression."""
    tree = Path(shutil.copytree(CONTAINER, tmp_path / "container"))
    overlay = overlay_with(tree, "kubernetes", ["agent"])
    with (overlay / "kustomization.yaml").open("a") as file:
        file.write("namePrefix: team-\nnameSuffix: -blue\n")
    objects = kustomized(overlay)
    account = pod(objects)["serviceAccountName"]
    assert account == "team-device-plugin-hub-blue"
    policies = [each for each in objects if each["kind"] == "ValidatingAdmissionPolicy"]
    texts = [policy["spec"]["matchConditions"][0]["expression"] for policy in policies]
    texts.append((CONTAINER / "dra/admission-policy.yaml").read_text())
    for text in texts:
        found = re.search(r"matches\('(.*)'\)", text)
        assert found
        for name in (account, "device-plugin-hub"):
            assert re.fullmatch(found[1], f"system:serviceaccount:any:{name}")
        for name in ("device-plugin-hubs", "xdevice-plugin-hub"):
            assert not re.fullmatch(found[1], f"system:serviceaccount:any:{name}")
    assert len(texts) == 3
