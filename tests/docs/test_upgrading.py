"""docs/upgrading.md: it describes the manifests correctly."""

import inspect
import re

import yaml

from hub.base.paths import RUN_DIR, RunDir
from hub.model.heartbeat import HANDOVER_TIMEOUT
from hub.plugin.devices.inventory import Inventory
from hub.supervisor.circus.watcher import KILL_SECONDS
from hub.supervisor.config.watchers import PluginConfig
from tests.deploy.manifest_tools import NAME, VALUES, charted, container, default, only
from tests.docs.docs_tools import page, rows

UPGRADING = page("upgrading")


def test_the_figures_are_those_of_the_manifests() -> None:
    """The page says how many nodes change at a time, how often a pod must be ready, and how many versions are kept."""
    spec = only(default(), "DaemonSet")["spec"]
    assert f"`maxSurge: {spec['updateStrategy']['rollingUpdate']['maxSurge']}`" in UPGRADING
    words = {2: "two", 3: "three", 5: "five"}
    probe = container(default())["readinessProbe"]
    often, apart = words[probe["successThreshold"]], words[probe["periodSeconds"]]
    assert f"Once {often} readiness probes, {apart} seconds apart, have succeeded" in UPGRADING
    assert "minReadySeconds" not in spec
    assert f"the last {words[spec['revisionHistoryLimit']]} are kept" in UPGRADING
    mps = only(charted(VALUES["mps"]), "DaemonSet")["spec"]
    assert f"`updateStrategy: {mps['updateStrategy']['type']}`" in UPGRADING


def test_a_change_is_rolled_out_as_described() -> None:
    """With kustomize, the ConfigMap's name rolls it out; with Helm, an annotation does, and the name stays."""
    (volume,) = [
        each for each in only(default(), "DaemonSet")["spec"]["template"]["spec"]["volumes"] if "configMap" in each
    ]
    assert re.fullmatch(rf"{NAME}-config-[a-z0-9]{{10}}", volume["configMap"]["name"])
    changed = [only(charted({"config": {"plugins": {"stub.yaml": text}}}), "DaemonSet") for text in ("a: 1", "a: 2")]
    one, other = (each["spec"]["template"] for each in changed)
    assert one["metadata"]["annotations"] != other["metadata"]["annotations"]
    assert yaml.safe_dump(one["spec"]) == yaml.safe_dump(other["spec"])


def test_what_a_new_plugin_with_a_fault_says() -> None:
    """The page quotes the words of the code."""
    assert "an older hub keeps serving" in inspect.getsource(Inventory._leave_to_older)
    assert UPGRADING.count("`an older hub keeps serving`") == 2


def test_a_hub_that_is_stopped_ends_in_time() -> None:
    """The handover, the graceful timeout and the time after SIGKILL fit in the pod's grace period."""
    longest = HANDOVER_TIMEOUT + PluginConfig("x", "x").graceful_timeout + KILL_SECONDS
    grace = only(default(), "DaemonSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert longest < grace
    assert f"at most {longest:g}, less than the pod's grace period of {grace}" in " ".join(UPGRADING.split())
    assert PluginConfig("x", "x").watchdog == 30


def test_what_stays_on_the_node_is_what_the_hub_keeps() -> None:
    """Health and history are kept by the plugin's name, everything else by the hub's name, which is the pod's."""
    run_dir = RunDir(RUN_DIR, "INSTANCE")
    text = " ".join(rows("upgrading", f"file in `{RUN_DIR}`", "belongs to", "after an upgrade", "after a reboot")[2])
    assert run_dir.health("NAME") == run_dir.path / "node/NAME.health.json"
    assert "`node/NAME.health.json`" in UPGRADING
    assert run_dir.history("NAME") == run_dir.path / "node/NAME.history.json"
    assert "`node/NAME.history.json`" in UPGRADING
    files = (run_dir.lock, run_dir.hub_report, run_dir.hub_log, run_dir.hub_heartbeat, run_dir.circus_socket)
    assert all(f"`{file.name.removeprefix('INSTANCE')}`" in text or f"`{file.name}`" in text for file in files)
