"""The monitor for node-problem-detector: its script, its configuration, and what a cluster learns from them."""

import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from hub.base.paths import RUN_DIR, SUMMARY_DIR
from tests.deploy.manifest_tools import CONTAINER, kustomized, only
from tests.deploy.manifest_validity import mistakes
from tests.simulators.nodeproblemdetector import Detector, load, seconds

MONITOR = CONTAINER / "node-problem-detector"
SCRIPT = MONITOR / "device-plugin-hub.sh"
SUMMARIES = str(RUN_DIR / SUMMARY_DIR)
MOUNTED = "/custom-config/device-plugin-hub.sh"
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

GOOD = "plugins ok\ndevices/gpu ok\ndevices/ib ok\n"
BROKEN = "1 of 8 nvidia.com/gpu devices is unhealthy (GPU-1): XID 79"


@pytest.fixture(params=SHELLS)
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Detector:
    """A detector whose /bin/sh is one of the shells that this machine has, and whose run directory is empty."""
    shell = tmp_path / "sh"
    shell.symlink_to(str(shutil.which(request.param)))
    run_dir = tmp_path / "run"
    (run_dir / "summary").mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "DPHUB_RUN_DIR": str(run_dir), "LANG": "C.UTF-8"}
    return Detector(
        load(MONITOR / "device-plugin-hub.json"), {"/bin/sh": str(shell), MOUNTED: str(SCRIPT)}, environment
    )


def _hub(detector: Detector, text: str, *, name: str = "dphub", age: float = 0) -> None:
    """Write the summary of a hub, as if the hub had written it this many seconds ago."""
    path = Path(detector.environment["DPHUB_RUN_DIR"]) / "summary" / name
    path.write_text(text)
    os.utime(path, (time.time() - age,) * 2)


def _statuses(detector: Detector) -> dict[str, str]:
    detector.run()
    return {name: status for name, (status, _, _) in detector.conditions.items()}


def test_the_configuration_is_valid() -> None:
    """The program accepts it; each condition has one rule, because two rules would overwrite each other's results."""
    monitor = load(MONITOR / "device-plugin-hub.json")
    assert monitor.mistakes() == []
    permanent = [rule.condition for rule in monitor.rules if rule.type == "permanent"]
    assert sorted(permanent) == sorted(each.type for each in monitor.conditions)
    assert len({rule.reason for rule in monitor.rules}) == len(monitor.rules)


def test_no_condition_is_false_before_it_was_checked() -> None:
    """A startup taint is not removed too early.

    The program treats each condition as False until its rule has run, and publishes all of them after each rule. So it
    publishes nothing before the first rule, rules run one at a time, and the first is the one that taints depend on.
    """
    monitor = load(MONITOR / "device-plugin-hub.json")
    (rule,) = yaml.safe_load_all((MONITOR / "readiness-rule.yaml").read_text())
    assert (monitor.settings.skip_initial_status, monitor.settings.concurrency) == (True, 1)
    assert [monitor.rules[0].condition] == [each["type"] for each in rule["spec"]["conditions"]]


def test_what_happens_once_is_not_missed() -> None:
    """A rule looks back at least five seconds past its last run, as the hub writes its summary every five seconds."""
    temporary = [rule for rule in load(MONITOR / "device-plugin-hub.json").rules if rule.type == "temporary"]
    assert len(temporary) == 3
    for rule in temporary:
        assert int(rule.args[-1]) >= seconds(rule.invoke_interval) + 5


def test_a_node_without_problems(detector: Detector) -> None:
    """All conditions are False, with the messages of the configuration, and there are no events."""
    _hub(detector, GOOD)
    assert set(_statuses(detector).values()) == {"False"}
    assert detector.conditions["GPUUnhealthy"][1:] == ("GPUsAreHealthy", "all GPUs can be used, or are cordoned")
    assert detector.events == []


def test_a_node_without_such_hardware(detector: Detector) -> None:
    """No condition reports a problem with the devices of a plugin that the hub does not run."""
    _hub(detector, "plugins ok\ndevices/stub ok\n")
    assert set(_statuses(detector).values()) == {"False"}


def test_a_device_that_cannot_be_used(detector: Detector) -> None:
    """The device's condition is True, with the hub's reason; when the reason changes, so does the message."""
    for reason in (BROKEN, BROKEN.replace("79", "48")):
        _hub(detector, GOOD.replace("gpu ok", f"gpu problem {reason}"))
        assert {name for name, status in _statuses(detector).items() if status == "True"} == {"GPUUnhealthy"}
        assert detector.conditions["GPUUnhealthy"] == ("True", "GPUCannotBeUsed", reason)
    _hub(detector, GOOD)
    assert set(_statuses(detector).values()) == {"False"}


def test_a_plugin_that_does_not_work(detector: Detector) -> None:
    """The plugin's condition is True and its devices are unknown. While a plugin is starting, both are unknown."""
    down = "plugins problem ib: backing off: exit code 1\ndevices/gpu ok\ndevices/ib unknown ib: backing off\n"
    _hub(detector, down)
    assert _statuses(detector) == {
        "DevicePluginDown": "True",
        "DeviceHubDown": "False",
        "GPUUnhealthy": "False",
        "RDMADeviceUnhealthy": "Unknown",
    }
    assert detector.conditions["DevicePluginDown"][2] == "ib: backing off: exit code 1"
    _hub(detector, "plugins unknown gpu: starting\ndevices/gpu unknown gpu: starting\n")
    assert _statuses(detector)["DevicePluginDown"] == "Unknown"
    assert detector.conditions["GPUUnhealthy"] == ("Unknown", "GPUsAreHealthy", "gpu: starting")


@pytest.mark.parametrize("age", [None, 40.0, -40.0], ids=["absent", "old", "in the future"])
def test_no_hub(detector: Detector, age: float | None) -> None:
    """A hub that is gone or hangs is reported by its own condition; all other conditions become unknown."""
    if age is not None:
        _hub(detector, GOOD, age=age)
    found = _statuses(detector)
    assert found.pop("DeviceHubDown") == "True"
    assert set(found.values()) == {"Unknown"}
    assert "no hub has renewed its summary" in detector.conditions["DeviceHubDown"][2]
    assert detector.events == []


def test_an_upgrade(detector: Detector) -> None:
    """With two hubs on the node, a plugin works if it works in one of them. A hub that has exited does not count."""
    _hub(detector, "plugins unknown gpu: starting\ndevices/gpu unknown gpu: starting\n", name="new")
    _hub(detector, GOOD.replace("gpu ok", f"gpu problem {BROKEN}"), name="old")
    _hub(detector, GOOD, name="exited", age=40)
    found = _statuses(detector)
    assert (found["DevicePluginDown"], found["GPUUnhealthy"]) == ("False", "True")
    _hub(detector, "plugins problem gpu: backing off\ndevices/gpu unknown gpu: backing off\n", name="new")
    _hub(detector, "plugins unknown ib: registering\n", name="old")
    assert _statuses(detector)["DevicePluginDown"] == "True"
    assert detector.conditions["GPUUnhealthy"][0] == "Unknown"


def test_what_happened_once(detector: Detector) -> None:
    """Recent incidents become one event for each kind, even if there were two; older entries produce no event."""
    now = int(time.time())
    _hub(
        detector,
        f"{GOOD}restarts {now - 5} gpu: killed by SIGSEGV\nrestarts {now - 9} ib: exit code 1\n"
        f"rejections {now - 100} gpu: nvidia.com/gpu: no reason\nresets {now - 5} gpu: GPU-1: took too long\n",
    )
    assert set(_statuses(detector).values()) == {"False"}
    assert detector.events == [
        ("DevicePluginRestarted", "gpu: killed by SIGSEGV; ib: exit code 1"),
        ("DeviceResetFailed", "gpu: GPU-1: took too long"),
    ]


def test_a_long_reason(detector: Detector) -> None:
    """The script cuts it to the length that the program accepts, in bytes and not in characters, on one line."""
    _hub(detector, GOOD.replace("gpu ok", f"gpu problem {'é* $(id) %s ' * 500}"))
    longest = detector.monitor.settings.max_output_length
    detector.run()
    message = detector.conditions["GPUUnhealthy"][2]
    assert message.startswith("é* $(id) %s é*")
    assert longest - 2 <= len(message.encode(errors="surrogateescape")) <= longest + 2
    (rule,) = [each for each in detector.monitor.rules if each.condition == "GPUUnhealthy"]
    code, _ = detector.output(rule.path, rule.args)
    assert code == 1


def test_a_question_is_needed(detector: Detector) -> None:
    """Without an argument, the script prints the possible checks and fails."""
    with pytest.raises(AssertionError, match=r"usage: .* hub.plugins.devices/PLUGIN"):
        detector.output("/bin/sh", [MOUNTED])


DETECTOR = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "node-problem-detector", "namespace": "kube-system"},
    "spec": {
        "selector": {"matchLabels": {"app": "npd"}},
        "template": {
            "metadata": {"labels": {"app": "npd"}},
            "spec": {"containers": [{"name": "node-problem-detector", "image": "npd", "command": ["/npd", "--flag"]}]},
        },
    },
}


def test_with_kustomize(tmp_path: Path) -> None:
    """The component mounts what the script reads at the expected path, and adds the monitor to the existing list."""
    shutil.copytree(MONITOR, tmp_path / "monitor")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "npd.yaml").write_text(yaml.safe_dump(DETECTOR))
    wanted = {"resources": ["npd.yaml"], "components": ["../monitor"]}
    (tmp_path / "own" / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    objects = kustomized(tmp_path / "own")
    assert mistakes(objects) == []
    pod = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == [
        "/npd",
        "--flag",
        "--config.custom-plugin-monitor=/custom-config/device-plugin-hub.json",
    ]
    config = only(objects, "ConfigMap")
    assert config["data"] == {name: (MONITOR / name).read_text() for name in ("device-plugin-hub.json", SCRIPT.name)}
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
    assert all(each["readOnly"] for each in container["volumeMounts"])
    assert mounts["/custom-config"]["configMap"]["name"] == config["metadata"]["name"]
    assert mounts[SUMMARIES]["hostPath"]["path"] == SUMMARIES
    # The run directory itself is not mounted, because its sockets could control the hub.
    assert mounts.keys() == {"/custom-config", SUMMARIES}


def test_with_helm() -> None:
    """The chart's values mount the summaries in the same way; the chart mounts the two files at /custom-config."""
    values = yaml.safe_load((MONITOR / "values.yaml").read_text())
    patch = yaml.safe_load((MONITOR / "daemonset.yaml").read_text())["spec"]["template"]["spec"]
    assert values["extraVolumes"] == [each for each in patch["volumes"] if "hostPath" in each]
    assert [each for each in patch["containers"][0]["volumeMounts"] if each["name"] == "dphub"] == values[
        "extraVolumeMounts"
    ]
    assert values["settings"] == {"custom_plugin_monitors": ["/custom-config/device-plugin-hub.json"]}


def test_the_readiness_rule() -> None:
    """The node readiness controller accepts the rule, which waits for a condition that the monitor reports."""
    (rule,) = yaml.safe_load_all((MONITOR / "readiness-rule.yaml").read_text())
    assert mistakes([rule]) == []
    known = {each.type for each in load(MONITOR / "device-plugin-hub.json").conditions}
    assert {each["type"] for each in rule["spec"]["conditions"]} <= known
    wrong = {**rule, "spec": {**rule["spec"], "taint": {"key": "example.com/x", "effect": "NoSchedule"}}}
    assert mistakes([wrong]) != []


@pytest.mark.parametrize("value", ["a[$(touch${IFS}planted)]", "now", "-1", "1+1", "09", "9" * 30, "now=0"])
def test_a_time_that_is_not_a_number(detector: Detector, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is ignored and never executed: the shell would evaluate text in an arithmetic expression as code."""
    monkeypatch.chdir(Path(detector.environment["DPHUB_RUN_DIR"]))
    _hub(detector, f"{GOOD}restarts {value} gpu: killed\n")
    assert detector.output(MOUNTED, ["restarts", "3600"]) == (0, "")
    assert not Path("planted").exists()
